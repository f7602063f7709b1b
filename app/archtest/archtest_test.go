package archtest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// To see it fail, import one adapter from another.
func TestDependenciesPointInwards(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	mod, err := root.Open("go.mod")
	require.NoError(t, err, "the module's root is not where this test looks for it")
	require.NoError(t, mod.Close())

	files, err := scan(root)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, f := range files {
		top, _, _ := strings.Cut(f.path, "/")
		seen[top] = true
	}
	for _, top := range []string{"domain", "ports", "workflows", "app", "adapters", "migrations"} {
		require.True(t, seen[top], "no Go file seen below %s", top)
	}
	found, err := violations(files)
	require.NoError(t, err)
	require.Empty(t, found, "imports in the wrong direction:\n%s", strings.Join(found, "\n"))
}

func TestNothingSeenIsNotAPass(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string]fstest.MapFS{
		"empty":                {},
		"no Go":                {"README.md": {}},
		"only what is skipped": {".ci/x.go": {Data: []byte("package x")}, "testdata/x.go": {}, "a/_x.go": {}, "b/go.mod": {}, "b/x.go": {Data: []byte("package b")}},
	} {
		files, err := scan(tree)
		require.NoError(t, err, name)
		_, err = violations(files)
		require.Error(t, err, name)
	}
	_, err := scan(fstest.MapFS{"domain/x.go": {Data: []byte("not Go")}})
	require.Error(t, err, "a file that can't be read is not a pass either")
}

func TestThePlantedViolationIsFound(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ path, imported string }{
		{"domain/preference/x.go", "accord/ports"},
		{"domain/preference/x.go", "accord/domainx"},
		{"domain/preference/x.go", "github.com/google/uuid"},
		{"domain/preference/x.go", "net/http"},
		{"domain/preference/x.go", "database/sql"},
		{"domain/preference/x.go", "os"},
		{"domain/preference/x.go", "os/exec"},
		{"domain/preference/x.go", "log/slog"},
		{"domain/preference/x.go", "math/rand/v2"},
		{"domain/preference/x.go", "crypto/rand"},
		{"domain/preference/x.go", "unsafe"},
		{"domain/preference/x.go", "testing"},
		{"domain/preference/x_test.go", "accord/ports/mocks"},
		{"domain/preference/x_test.go", "accord/adapters/devstack/stacktest"},
		{"domain/preference/x_test.go", "accord/app/preferences"},
		{"ports/x.go", "accord/workflows/preferences"},
		{"ports/x.go", "accord/ports/mocks"},
		{"ports/x.go", "net/http"},
		{"ports/x.go", "github.com/google/uuid"},
		{"ports/x.go", "github.com/golang/mock/gomock"},
		{"ports/other/x.go", "time"},
		{"ports/mocks/x.go", "accord/adapters/http"},
		{"ports/portstest/x.go", "accord/adapters/postgres"},
		{"workflows/preferences/x.go", "accord/app/preferences"},
		{"workflows/preferences/x.go", "accord/adapters/temporal"},
		{"workflows/preferences/x.go", "gorm.io/gorm"},
		{"workflows/preferences/x.go", "github.com/gin-gonic/gin"},
		{"workflows/preferences/x.go", "net/http"},
		{"workflows/preferences/x.go", "github.com/google/uuid"},
		{"workflows/preferences/x.go", "github.com/stretchr/testify/require"},
		{"app/preferences/x.go", "accord/workflows/preferences"},
		{"app/preferences/x.go", "accord/adapters/postgres"},
		{"app/preferences/x.go", "accord/app/config"},
		{"app/preferences/x.go", "accord/app/inbox"},
		{"app/preferences/x.go", "go.temporal.io/sdk/client"},
		{"app/preferences/x.go", "accord/ports/portstest"},
		{"app/preferences/x_test.go", "accord/adapters/postgres"},
		{"app/compose/x.go", "accord/adapters/devstack/stacktest"},
		{"app/compose/x.go", "github.com/gin-gonic/gin"},
		{"app/compose/x.go", "gorm.io/driver/postgres"},
		{"app/compose/x.go", "testing"},
		{"app/main.go", "accord/ports/mocks"},
		{"app/systemtest/x_test.go", "gorm.io/gorm"},
		{"app/chaostest/checker/x.go", "accord/domain/preference"},
		{"app/chaostest/checker/x_test.go", "accord/app/systemtest/process"},
		{"app/chaostest/checker/x.go", "github.com/google/uuid"},
		{"app/compose/x.go", "github.com/Shopify/toxiproxy/v2"},
		{"app/compose/x.go", "gonum.org/v1/plot"},
		{"app/compose/x.go", "github.com/google/pprof/profile"},
		{"adapters/http/x.go", "accord/adapters/postgres"},
		{"adapters/http/x.go", "accord/app/preferences"},
		{"adapters/http/x.go", "accord/migrations"},
		{"adapters/http/x.go", "gorm.io/gorm"},
		{"adapters/http/x_test.go", "accord/adapters/postgres"},
		{"adapters/postgres/x.go", "github.com/gin-gonic/gin"},
		{"adapters/postgres/x.go", "accord/adapters/postgresql"},
		{"adapters/sandbox/x.go", "github.com/gin-contrib/sse"},
		{"adapters/crm/braze/x.go", "accord/adapters/crm/hubspot"},
		{"adapters/crm/braze/x.go", "accord/adapters/crm"},
		{"adapters/push/onesignal/x.go", "accord/adapters/crm/braze"},
		{"adapters/push/onesignal/x.go", "accord/adapters/outbound"},
		{"adapters/postgres/x.go", "accord/adapters/devstack"},
		{"app/preferences/x_test.go", "accord/adapters/devstack"},
		{"adapters/auth/x.go", "accord"},
		{"adapters/auth/x.go", "github.com/stretchr/testify/require"},
		{"adapters/devstack/x.go", "accord/adapters/devstack/stacktest"},
		{"adapters/devstack/x.go", "testing"},
		{"migrations/x.go", "accord/domain/preference"},
		{"main.go", "fmt"},
		{"tools/x.go", "fmt"},
	} {
		require.Len(t, verdict(t, tc.path, "package x\nimport _ \""+tc.imported+"\"\n"), 1, "%s importing %s", tc.path, tc.imported)
	}
}

func TestWhatIsAllowedIsNotComplainedAbout(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ path, imported string }{
		{"domain/preference/x.go", "accord/domain/fault"},
		{"domain/preference/x.go", "net/url"},
		{"domain/preference/x_test.go", "os"},
		{"domain/preference/x_test.go", "pgregory.net/rapid"},
		{"domain/preference/x_test.go", "github.com/stretchr/testify/require"},
		{"ports/x.go", "accord/domain/preference"},
		{"ports/mocks/x.go", "accord/ports"},
		{"ports/mocks/x.go", "github.com/golang/mock/gomock"},
		{"ports/portstest/x.go", "testing"},
		{"ports/portstest/x.go", "net/http/httptest"},
		{"ports/portstest/x.go", "accord/ports"},
		{"workflows/preferences/x.go", "go.temporal.io/sdk/workflow"},
		{"workflows/preferences/x.go", "accord/ports"},
		{"workflows/preferences/x_test.go", "accord/ports/mocks"},
		{"app/preferences/x.go", "accord/ports"},
		{"app/preferences/x.go", "log/slog"},
		{"app/preferences/x_test.go", "accord/ports/mocks"},
		{"app/preferences/inner/x.go", "accord/app/preferences"},
		{"app/main.go", "accord/app/compose"},
		{"app/compose/x.go", "accord/adapters/http"},
		{"app/compose/x.go", "accord/migrations"},
		{"app/compose/x.go", "net/http"},
		{"app/systemtest/x_test.go", "accord/adapters/devstack/stacktest"},
		{"app/systemtest/x_test.go", "accord/adapters/sandbox"},
		{"app/chaostest/x.go", "github.com/Shopify/toxiproxy/v2"},
		{"app/loadtest/x.go", "gonum.org/v1/plot/vg"},
		{"app/chaostest/x.go", "accord/app/chaostest/checker"},
		{"app/chaostest/x.go", "accord/app/systemtest/process"},
		{"app/chaostest/checker/x_test.go", "github.com/stretchr/testify/require"},
		{"adapters/http/x.go", "github.com/gin-gonic/gin"},
		{"adapters/http/openapi/x.go", "accord/adapters/http"},
		{"adapters/postgres/x.go", "gorm.io/gorm/clause"},
		{"adapters/postgres/x.go", "accord/migrations"},
		{"adapters/postgres/x_test.go", "accord/adapters/devstack/stacktest"},
		{"adapters/postgres/x_test.go", "accord/adapters/devstack"},
		{"adapters/temporal/x.go", "accord/workflows/preferences"},
		{"adapters/crm/braze/x_test.go", "accord/ports/portstest"},
		{"adapters/crm/braze/wire/x.go", "accord/adapters/crm/braze"},
		{"adapters/devstack/stacktest/x.go", "accord/adapters/devstack"},
		{"adapters/devstack/stacktest/x.go", "testing"},
		{"migrations/x.go", "embed"},
	} {
		require.Empty(t, verdict(t, tc.path, "package x\nimport _ \""+tc.imported+"\"\n"), "%s importing %s", tc.path, tc.imported)
	}
}

func TestTheDomainIsToldTheTime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, src string
		found     int
	}{
		"called":               {"domain/x/x.go", `package x; import "time"; var at = time.Now()`, 1},
		"handed on":            {"domain/x/x.go", `package x; import "time"; var now = time.Now`, 1},
		"under another name":   {"domain/x/x.go", `package x; import clock "time"; func f(t clock.Time) any { return clock.Since(t) }`, 1},
		"without a name":       {"domain/x/x.go", `package x; import . "time"; var at = Now()`, 1},
		"waited for":           {"domain/x/x.go", `package x; import "time"; func f() { time.Sleep(1); <-time.After(1) }`, 2},
		"as a value":           {"domain/x/x.go", `package x; import "time"; func f(a, b time.Time) bool { return a.After(b.Add(time.Second)) }`, 0},
		"something else's Now": {"domain/x/x.go", `package x; import _ "time"; type c struct{}; func (c) Now() int { return 1 }; func f(time c) int { return time.Now() }`, 0},
		"in a test":            {"domain/x/x_test.go", `package x; import "time"; var at = time.Now()`, 0},
		"elsewhere":            {"app/compose/x.go", `package x; import "time"; var at = time.Now()`, 0},
	} {
		require.Len(t, verdict(t, tc.path, tc.src), tc.found, name)
	}
}

// verdict is what the rules say about a module of one file.
func verdict(t *testing.T, path, src string) []string {
	t.Helper()
	files, err := scan(fstest.MapFS{path: {Data: []byte(src)}})
	require.NoError(t, err)
	require.Len(t, files, 1)
	found, err := violations(files)
	require.NoError(t, err)
	return found
}
