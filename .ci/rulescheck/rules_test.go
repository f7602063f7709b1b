package rulescheck

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const folder = "../../docs/operations/"

type rule struct {
	Alert string
	Expr  string
	For   string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	raw, err := os.ReadFile(folder + "alerts.yaml")
	require.NoError(t, err)
	var file struct{ Groups []struct{ Rules []rule } }
	require.NoError(t, yaml.Unmarshal(raw, &file))
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// at is when cases are looked at.
const at = 30 * time.Minute

func TestAlertsFireWhenTheyShould(t *testing.T) {
	raw, err := os.ReadFile("cases.yaml")
	require.NoError(t, err)
	var cases map[string]struct{ Fires, Quiet []map[string]string }
	require.NoError(t, yaml.Unmarshal(raw, &cases))
	engine := promqltest.NewTestEngine(t, false, 0, 10000)
	for _, r := range rules(t) {
		c, is := cases[r.Alert]
		require.True(t, is, "no case for %s", r.Alert)
		require.NotEmpty(t, c.Fires, r.Alert)
		require.NotEmpty(t, c.Quiet, r.Alert)
		delete(cases, r.Alert)
		for _, series := range c.Fires {
			require.True(t, fires(t, engine, r, series), "%s must fire on %v", r.Alert, series)
		}
		for _, series := range c.Quiet {
			require.False(t, fires(t, engine, r, series), "%s must not fire on %v", r.Alert, series)
		}
	}
	require.Empty(t, cases, "cases of no alert")
}

// fires is true when the expression has held for as long as the rule wants, up to the moment looked at.
func fires(t *testing.T, engine *promql.Engine, r rule, series map[string]string) bool {
	t.Helper()
	script := "load 1m\n"
	for name, values := range series {
		script += fmt.Sprintf("  %s %s\n", name, values)
	}
	storage := promqltest.LoadedStorage(t, script)
	lasting := time.Duration(0)
	if r.For != "" {
		var err error
		lasting, err = time.ParseDuration(r.For)
		require.NoError(t, err)
	}
	for moment := at - lasting; moment <= at; moment += time.Minute {
		query, err := engine.NewInstantQuery(context.Background(), storage, nil, r.Expr, time.Unix(0, 0).Add(moment))
		require.NoError(t, err, r.Alert)
		result := query.Exec(context.Background())
		require.NoError(t, result.Err, r.Alert)
		vector, err := result.Vector()
		require.NoError(t, err, r.Alert)
		held := len(vector) > 0
		query.Close()
		if !held {
			return false
		}
	}
	return true
}

func TestEveryPanelIsPromQL(t *testing.T) {
	raw, err := os.ReadFile(folder + "dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &dashboard))
	checked := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			_, err := parser.NewParser(parser.Options{}).ParseExpr(target.Expr)
			require.NoError(t, err, p.Title)
			checked++
		}
	}
	require.Greater(t, checked, 20)
}
