// Writes JSON schemas that a manifest's kind can be checked against offline: those of Kubernetes
// itself out of its OpenAPI document, and those of others out of their CustomResourceDefinitions.
//
//	schemas OUT swagger.json FILE_OR_DIR_OF_CRDS...
//
// Each is in OUT/GROUP/KIND_VERSION.json, all in lower case (the core's group is called v1, as
// kubeconform does). Members that a schema does not name are refused.
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

type schema = map[string]any

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("use: schemas OUT swagger.json FILE_OR_DIR_OF_CRDS...")
	}
	out := os.Args[1]
	kinds, err := ofKubernetes(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	for _, place := range os.Args[3:] {
		of, err := ofResources(place)
		if err != nil {
			log.Fatalf("%s: %v", place, err)
		}
		if len(of) == 0 {
			log.Fatalf("%s: no CustomResourceDefinition", place)
		}
		for name, found := range of {
			kinds[name] = found
		}
	}
	for name, found := range kinds {
		if err := write(filepath.Join(out, name+".json"), found); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("%d kinds\n", len(kinds))
}

func write(path string, value schema) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// place is where a kind's schema is looked for.
func place(group, kind, version string) string {
	if group == "" {
		group = version
	}
	return filepath.Join(group, strings.ToLower(kind)+"_"+version)
}

// ofKubernetes reads the kinds of an OpenAPI 2 document, each with all that it refers to.
func ofKubernetes(path string) (map[string]schema, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document struct{ Definitions map[string]schema }
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	for name, definition := range document.Definitions {
		switch {
		case strings.HasSuffix(name, ".IntOrString"):
			document.Definitions[name] = schema{"type": []string{"integer", "string"}}
		case strings.HasSuffix(name, ".Quantity"):
			document.Definitions[name] = schema{"type": []string{"number", "string"}}
		default:
			closeObjects(definition)
		}
	}
	kinds := map[string]schema{}
	for name, definition := range document.Definitions {
		known, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, entry := range known {
			kind, _ := entry.(schema)
			text := func(member string) string { s, _ := kind[member].(string); return s }
			needed := map[string]schema{}
			collect(definition, document.Definitions, needed)
			whole := schema{"$ref": "#/definitions/" + name, "definitions": needed}
			needed[name] = definition
			kinds[place(text("group"), text("kind"), text("version"))] = whole
		}
	}
	return kinds, nil
}

// collect adds what a schema refers to, and what that refers to.
func collect(node any, all, needed map[string]schema) {
	switch node := node.(type) {
	case schema:
		if ref, ok := node["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, "#/definitions/")
			if _, seen := needed[name]; !seen {
				needed[name] = all[name]
				collect(all[name], all, needed)
			}
		}
		for _, below := range node {
			collect(below, all, needed)
		}
	case []any:
		for _, below := range node {
			collect(below, all, needed)
		}
	}
}

// ofResources reads the kinds of the CustomResourceDefinitions in a file or below a directory.
func ofResources(root string) (map[string]schema, error) {
	kinds := map[string]schema{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, document := range strings.Split(string(text), "\n---") {
			var found struct {
				Kind string
				Spec struct {
					Group    string
					Names    struct{ Kind string }
					Versions []struct {
						Name   string
						Schema struct{ OpenAPIV3Schema schema }
					}
				}
			}
			if err := yaml.Unmarshal([]byte(document), &found); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if found.Kind != "CustomResourceDefinition" {
				continue
			}
			for _, version := range found.Spec.Versions {
				of := version.Schema.OpenAPIV3Schema
				closeObjects(of)
				kinds[place(found.Spec.Group, found.Spec.Names.Kind, version.Name)] = of
			}
		}
		return nil
	})
	return kinds, err
}

// closeObjects has every object refuse members that it does not name, unless it says that it keeps
// them.
func closeObjects(node any) {
	switch node := node.(type) {
	case schema:
		if isTrue(node["x-kubernetes-int-or-string"]) {
			delete(node, "anyOf")
			node["type"] = []string{"integer", "string"}
		}
		if isTrue(node["nullable"]) {
			if kind, ok := node["type"].(string); ok {
				node["type"] = []string{kind, "null"}
			}
		}
		// A member may be called "properties", too: then it is no map of schemas of this one's.
		members, isObject := node["properties"].(schema)
		_, isSaid := node["additionalProperties"]
		if isObject && !isSaid && !isTrue(node["x-kubernetes-preserve-unknown-fields"]) {
			node["additionalProperties"] = false
		}
		for _, below := range members {
			closeObjects(below)
		}
		for name, below := range node {
			switch name {
			case "properties":
			case "allOf", "anyOf", "oneOf", "not":
				// These only add conditions to members that are named elsewhere.
			default:
				closeObjects(below)
			}
		}
	case []any:
		for _, below := range node {
			closeObjects(below)
		}
	}
}

func isTrue(value any) bool {
	is, _ := value.(bool)
	return is
}
