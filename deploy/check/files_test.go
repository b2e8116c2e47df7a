package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The repository's root, seen from this folder.
const root = "../.."

// read gives a file's content, by its path from the root.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// settings are the names that the gateway's settings have in the environment, from the README's table.
func settings(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| [^|]+ \\| [^|]+ \\|$")
	for _, match := range row.FindAllStringSubmatch(read(t, "README.md"), -1) {
		names["TIDEGATE_"+strings.ToUpper(strings.ReplaceAll(match[1], ".", "_"))] = true
	}
	if len(names) < 50 {
		t.Fatalf("only %d settings found in README.md: its table has another form now", len(names))
	}
	return names
}

func TestTheSettingsAreFoundInTheReadme(t *testing.T) {
	names := settings(t)
	for _, name := range []string{"TIDEGATE_LOG_KIND", "TIDEGATE_PUBLIC_TRUSTED_PROXIES"} {
		if !names[name] {
			t.Errorf("%s is not among them", name)
		}
	}
}
