package operationstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatTheTextsPointToIsThere: every link between the project's texts, and every file of docs/ that settings and the
// contract name.
func TestWhatTheTextsPointToIsThere(t *testing.T) {
	t.Parallel()
	link, named := regexp.MustCompile(`\]\(([^)\s]+)\)`), regexp.MustCompile(`\bdocs/[\w./-]*\.(?:md|yaml|json|png|svg)`)
	texts := []string{"../../README.md", "../../adapters/http/openapi.yaml"}
	require.NoError(t, filepath.WalkDir(docs, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			texts = append(texts, path)
		}
		return err
	}))
	found := 0
	for _, path := range texts {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") || filepath.Ext(path) != ".md" {
				continue
			}
			found++
			_, err := os.Stat(filepath.Join(filepath.Dir(path), target))
			require.NoError(t, err, "%s points to %s", path, m[1])
		}
		for _, name := range named.FindAllString(string(raw), -1) {
			found++
			_, err := os.Stat(filepath.Join("../..", name))
			require.NoError(t, err, "%s names %s", path, name)
		}
	}
	require.Greater(t, found, 60)
}
