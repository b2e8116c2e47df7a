// Package check holds what must be true of the files beside it, as tests: that Docker's own parser and
// linter take the Dockerfile, Compose's own loader the stack, kind's own types the cluster, and that
// what they name is there. Nothing is built and nothing is started.
package check
