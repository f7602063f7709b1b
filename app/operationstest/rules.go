package operationstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metricsql"
	"go.yaml.in/yaml/v3"
)

// Alert is one alerting rule.
type Alert struct {
	Name        string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Alerts reads the rules. docs is the folder of the documentation.
func Alerts(docs string) ([]Alert, error) {
	raw, err := os.ReadFile(filepath.Join(docs, "operations", "alerts.yaml"))
	if err != nil {
		return nil, err
	}
	var file struct {
		Groups []struct {
			Rules []Alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("alerts.yaml: %w", err)
	}
	var out []Alert
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out, nil
}

// Panels are the expressions of the dashboard, by the title of their panel.
func Panels(docs string) (map[string][]string, error) {
	raw, err := os.ReadFile(filepath.Join(docs, "operations", "dashboard.json"))
	if err != nil {
		return nil, err
	}
	var file struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("dashboard.json: %w", err)
	}
	out := map[string][]string{}
	for _, p := range file.Panels {
		for _, t := range p.Targets {
			out[p.Title] = append(out[p.Title], t.Expr)
		}
	}
	return out, nil
}

// Selector is what an expression asks one metric for: which labels it has to have, and which values of them are asked for
// word for word.
type Selector struct {
	Metric string
	Labels []string
	Values map[string]string
}

// Selectors are all that an expression asks for. Labels that it groups by count for each of its metrics.
func Selectors(expr string) ([]Selector, error) {
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	var out []Selector
	collect(parsed, nil, &out)
	return out, nil
}

func collect(e metricsql.Expr, grouped []string, out *[]Selector) {
	switch e := e.(type) {
	case *metricsql.MetricExpr:
		for _, filters := range e.LabelFilterss {
			s := Selector{Values: map[string]string{}, Labels: slices.Clone(grouped)}
			for _, f := range filters {
				if f.Label == "__name__" {
					s.Metric = f.Value
					continue
				}
				s.Labels = append(s.Labels, f.Label)
				if !f.IsNegative && !f.IsRegexp {
					s.Values[f.Label] = f.Value
				}
			}
			*out = append(*out, s)
		}
	case *metricsql.AggrFuncExpr:
		if strings.EqualFold(e.Modifier.Op, "by") {
			grouped = append(slices.Clone(grouped), e.Modifier.Args...)
		}
		for _, arg := range e.Args {
			collect(arg, grouped, out)
		}
	case *metricsql.FuncExpr:
		for _, arg := range e.Args {
			collect(arg, grouped, out)
		}
	case *metricsql.RollupExpr:
		collect(e.Expr, grouped, out)
	case *metricsql.BinaryOpExpr:
		collect(e.Left, grouped, out)
		collect(e.Right, grouped, out)
	}
}

// Asked is every selector of alerts and dashboard, by where it is.
func Asked(docs string) (map[string][]Selector, error) {
	alerts, err := Alerts(docs)
	if err != nil {
		return nil, err
	}
	panels, err := Panels(docs)
	if err != nil {
		return nil, err
	}
	for _, a := range alerts {
		panels["alert "+a.Name] = []string{a.Expr}
	}
	out := map[string][]Selector{}
	for _, where := range slices.Sorted(maps.Keys(panels)) {
		for _, expr := range panels[where] {
			found, err := Selectors(expr)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			out[where] = append(out[where], found...)
		}
	}
	return out, nil
}
