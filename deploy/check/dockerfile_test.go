package check

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// images are all Dockerfiles, with the folder that each is built from.
var images = map[string]string{
	"deploy/Dockerfile": ".",
}

// bases answers for every base image, so that no registry is asked.
type bases struct{}

func (bases) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{
		Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		Config:   ocispecs.ImageConfig{Env: []string{"PATH=/usr/bin"}},
	})
	return ref, digest.FromString(ref), config, err
}

func (b bases) ResolveSourceMetadata(ctx context.Context, op *pb.SourceOp, opt sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	_, found, config, err := b.ResolveImageConfig(ctx, op.Identifier, opt)
	image := &sourceresolver.ResolveImageResponse{Digest: found, Config: config}
	return &sourceresolver.MetaResponse{Op: op, Image: image}, err
}

// convert translates a Dockerfile for BuildKit and gives the image that comes of it.
func convert(t *testing.T, path string, warn linter.LintWarnFunc) *dockerfile2llb.Result {
	t.Helper()
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), []byte(read(t, path)), dockerfile2llb.ConvertOpt{
		MetaResolver:   bases{},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		Warn:           warn,
	})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return result
}

func TestDockersLinterHasNothingToSay(t *testing.T) {
	for path := range images {
		content := []byte(read(t, path))
		results, err := dockerfile2llb.DockerfileLint(context.Background(), content, dockerfile2llb.ConvertOpt{
			MetaResolver:   bases{},
			TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
			SourceMap:      &llb.SourceMap{Definition: &llb.Definition{}, Filename: path, Data: content},
		})
		if err != nil {
			t.Fatal(err)
		}
		if results.Error != nil {
			t.Errorf("%s: %s", path, results.Error.Message)
		}
		for _, warning := range results.Warnings {
			t.Errorf("%s: %s: %s (%v)", path, warning.RuleName, warning.Detail, warning.Location.GetRanges())
		}
	}
}

func TestTheGatewaysImageIsWhatKubernetesNeeds(t *testing.T) {
	config := convert(t, "deploy/Dockerfile", nil).Image.Config
	if config.User != "65532:65532" {
		t.Errorf("runs as %q: runAsNonRoot needs a number that is not 0", config.User)
	}
	if config.StopSignal != "SIGTERM" {
		t.Errorf("stops by %q: only SIGTERM drains", config.StopSignal)
	}
	if strings.Join(config.Entrypoint, " ") != "/usr/local/bin/tidegate" || config.ArgsEscaped {
		t.Errorf("starts %q: without a shell the signal reaches the gateway itself", config.Entrypoint)
	}
	if config.Healthcheck == nil || strings.Join(config.Healthcheck.Test, " ") != "NONE" {
		t.Errorf("has the health check %+v, for which the image has no program", config.Healthcheck)
	}
	for _, port := range []string{"30000/tcp", "30001/tcp"} {
		if _, there := config.ExposedPorts[port]; !there {
			t.Errorf("does not expose %s", port)
		}
	}
	for _, label := range []string{"title", "description", "source", "licenses", "version", "revision", "created"} {
		if config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("has no label %s", label)
		}
	}
}

func TestWhatIsCopiedIsInTheContextAndNotIgnored(t *testing.T) {
	for path, context := range images {
		matcher := ignored(t, context)
		ast, err := parser.Parse(bytes.NewReader([]byte(read(t, path))))
		if err != nil {
			t.Fatal(err)
		}
		stages, _, err := instructions.Parse(ast.AST, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, stage := range stages {
			for _, command := range stage.Commands {
				copied, ok := command.(*instructions.CopyCommand)
				if !ok || copied.From != "" {
					continue
				}
				for _, source := range copied.SourcePaths {
					if _, err := os.Stat(filepath.Join(root, context, source)); err != nil {
						t.Errorf("%s copies %s: %v", path, source, err)
					}
					if out, err := matcher.MatchesOrParentMatches(source); err != nil || (out && source != ".") {
						t.Errorf("%s copies %s, which its context leaves out (%v)", path, source, err)
					}
				}
			}
		}
	}
}

func TestTheContextHasTheWholeWorkspaceAndNothingThatIsSecretOrLarge(t *testing.T) {
	matcher := ignored(t, ".")
	in := []string{"Cargo.toml", "Cargo.lock", "LICENSE", "gateway/Cargo.toml", "gateway/src/main.rs",
		"gateway/src/log/redis/publish.lua", "gateway/fuzz/Cargo.toml"}
	for _, line := range strings.Split(read(t, "Cargo.toml"), "\n") {
		if members, found := strings.CutPrefix(line, "members = "); found {
			var names []string
			if err := json.Unmarshal([]byte(members), &names); err != nil {
				t.Fatalf("the workspace's members are written in another way now: %v", err)
			}
			for _, name := range names {
				in = append(in, name+"/Cargo.toml")
			}
		}
	}
	for _, path := range in {
		if out, err := matcher.MatchesOrParentMatches(path); err != nil || out {
			t.Errorf("the context leaves %s out (%v)", path, err)
		}
	}
	for _, path := range []string{".git/config", "target/release/tidegate", "gateway/fuzz/target/x", "deploy/Dockerfile", "key.pem", ".env"} {
		if out, err := matcher.MatchesOrParentMatches(path); err != nil || !out {
			t.Errorf("the context holds %s (%v)", path, err)
		}
	}
}

// ignored matches what a context's .dockerignore leaves out.
func ignored(t *testing.T, context string) *patternmatcher.PatternMatcher {
	t.Helper()
	var patterns []string
	if file, err := os.Open(filepath.Join(root, context, ".dockerignore")); err == nil {
		defer file.Close()
		if patterns, err = ignorefile.ReadAll(file); err != nil {
			t.Fatal(err)
		}
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return matcher
}
