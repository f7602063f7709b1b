package operationstest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const docs = "../../docs"

// withoutAlert are the guarantees that nothing running can show to be broken, and why.
var withoutAlert = map[string]string{
	"10": "an answer with somebody else's data looks like any other; tests of every route prevent it",
	"11": "the build fails before a breaking change is released",
}

func TestEveryGuaranteeHasAnAlert(t *testing.T) {
	t.Parallel()
	alerts, err := Alerts(docs)
	require.NoError(t, err)
	seen := map[string]bool{}
	guide, err := os.ReadFile(filepath.Join(docs, "operations.md"))
	require.NoError(t, err)
	for _, a := range alerts {
		seen[a.Labels["guarantee"]] = true
		require.Contains(t, []string{"page", "ticket"}, a.Labels["severity"], a.Name)
		require.NotEmpty(t, a.Annotations["summary"], a.Name)
		require.Contains(t, string(guide), a.Name, "docs/operations.md says what each alert protects")
		if a.For != "" {
			_, err := time.ParseDuration(a.For)
			require.NoError(t, err, a.Name)
		}
	}
	for _, g := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"} {
		require.True(t, seen[g] != (withoutAlert[g] != ""), "guarantee %s needs an alert, or a reason why not", g)
		delete(seen, g)
	}
	require.Empty(t, seen, "no such guarantees")
}

func TestEveryAlertHasARunbookAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	alerts, err := Alerts(docs)
	require.NoError(t, err)
	require.Greater(t, len(alerts), 15)
	books := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(docs, "runbooks", "*.md"))
	require.NoError(t, err)
	for _, f := range files {
		books[strings.TrimSuffix(filepath.Base(f), ".md")] = true
	}
	link := regexp.MustCompile(`\]\((\w+)\.md\)`)
	for _, a := range alerts {
		require.True(t, books[a.Name], "no runbook for %s, or two alerts of that name", a.Name)
		delete(books, a.Name)
		text, err := os.ReadFile(filepath.Join(docs, "runbooks", a.Name+".md"))
		require.NoError(t, err)
		for _, section := range []string{"# " + a.Name, "## What it means", "## Who is affected", "## How to look", "## What to do", "## When to escalate"} {
			_, rest, found := strings.Cut(string(text), section+"\n\n")
			require.True(t, found, "%s: %s is missing", a.Name, section)
			said, _, _ := strings.Cut(rest, "\n## ")
			require.Greater(t, len(said), 20, "%s: %s says nothing", a.Name, section)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			require.FileExists(t, filepath.Join(docs, "runbooks", m[1]+".md"), a.Name)
		}
	}
	require.Empty(t, books, "runbooks without an alert")
}

func TestSelectorsAreFound(t *testing.T) {
	t.Parallel()
	got, err := Selectors(`sum by (a) (rate(x_total{b="1", c=~"2|3"}[5m])) / on (z) sum(y) and histogram_quantile(0.9, sum by (le) (rate(h_bucket[1m])))`)
	require.NoError(t, err)
	require.Equal(t, []Selector{
		{Metric: "x_total", Labels: []string{"a", "b", "c"}, Values: map[string]string{"b": "1"}},
		{Metric: "y", Values: map[string]string{}},
		{Metric: "h_bucket", Labels: []string{"le"}, Values: map[string]string{}},
	}, got)
	_, err = Selectors("sum by (")
	require.Error(t, err)
	asked, err := Asked(docs)
	require.NoError(t, err)
	require.Greater(t, len(asked), 40)
}
