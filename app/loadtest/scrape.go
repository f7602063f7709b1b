package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// measures are what a process says at /metrics.
type measures map[string]*dto.MetricFamily

var scraper = &http.Client{Timeout: 5 * time.Second}

func scrape(ctx context.Context, base string) (measures, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := scraper.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", base, res.StatusCode)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(res.Body)
	return families, err
}

// sum adds up gauges and counters of a name, or of a histogram its sum and count, over all that have every label given as name and
// value in turn.
func (m measures) sum(name string, labels ...string) (value float64, count uint64) {
	family := m[name]
	if family == nil {
		return 0, 0
	}
	for _, one := range family.GetMetric() {
		if !has(one, labels) {
			continue
		}
		value += one.GetGauge().GetValue() + one.GetCounter().GetValue() + one.GetUntyped().GetValue() + one.GetHistogram().GetSampleSum()
		count += one.GetHistogram().GetSampleCount()
	}
	return value, count
}

func (m measures) value(name string, labels ...string) float64 {
	value, _ := m.sum(name, labels...)
	return value
}

func has(one *dto.Metric, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		found := false
		for _, l := range one.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// mean is that of what a histogram has taken in between two readings, in its unit; 0 for nothing.
func mean(before, after measures, name string, labels ...string) float64 {
	v0, n0 := before.sum(name, labels...)
	v1, n1 := after.sum(name, labels...)
	if n1 <= n0 {
		return 0
	}
	return (v1 - v0) / float64(n1-n0)
}

// pressure is how far what may run out had run out while somebody looked.
type pressure struct {
	poolMost    map[string]float64 // connections in use at most, by kind of process; the fullest process counts
	poolLimit   map[string]float64
	poolWaits   map[string]float64       // times somebody waited for a connection, per second
	poolWaited  map[string]time.Duration // how long on average
	slotsLeft   map[string]float64       // fewest free slots of the workers for changes, by kind of task
	taskWait    time.Duration            // from being scheduled to being begun, on average: tasks of runs
	actWait     time.Duration            // activities
	settledRate float64                  // changes settled per second
}

// watch looks at everybody's measures until stopped, once a second.
type watch struct {
	s     *system
	first map[string]measures // by name of the part
	out   pressure
	stop  context.CancelFunc
	ended chan struct{}
	began time.Time
}

func (s *system) watch(ctx context.Context) (*watch, error) {
	w := &watch{s: s, first: map[string]measures{}, ended: make(chan struct{}), began: time.Now(), out: pressure{poolMost: map[string]float64{},
		poolLimit: map[string]float64{}, poolWaits: map[string]float64{}, poolWaited: map[string]time.Duration{}, slotsLeft: map[string]float64{}}}
	for _, p := range s.parts {
		if p.metrics == "" {
			continue
		}
		m, err := scrape(ctx, p.metrics)
		if err != nil {
			return nil, fmt.Errorf("measures of %s: %w", p.Name, err)
		}
		w.first[p.Name] = m
	}
	ctx, w.stop = context.WithCancel(ctx)
	go func() {
		defer close(w.ended)
		for pause(ctx, time.Second) == nil {
			for _, p := range s.parts {
				if m, err := scrape(ctx, p.metrics); p.metrics != "" && err == nil { // too busy to answer: what is said at the end counts
					w.note(p, m)
				}
			}
		}
	}()
	return w, nil
}

func (w *watch) note(p *part, m measures) {
	w.out.poolMost[p.kind] = max(w.out.poolMost[p.kind], m.value("go_sql_in_use_connections"))
	w.out.poolLimit[p.kind] = m.value("go_sql_max_open_connections")
	if p.kind != "worker" {
		return
	}
	for _, of := range []string{"WorkflowWorker", "ActivityWorker", "LocalActivityWorker"} {
		left := m.value("temporal_worker_task_slots_available", "task_queue", "preferences", "worker_type", of)
		if least, known := w.out.slotsLeft[of]; !known || left < least {
			w.out.slotsLeft[of] = left
		}
	}
}

// end stops looking and says what was seen.
func (w *watch) end(ctx context.Context) (pressure, error) {
	w.stop()
	<-w.ended
	took := time.Since(w.began).Seconds()
	for _, p := range w.s.parts {
		if p.metrics == "" {
			continue
		}
		m, err := scrape(ctx, p.metrics)
		if err != nil {
			return w.out, fmt.Errorf("measures of %s: %w", p.Name, err)
		}
		w.note(p, m)
		first := w.first[p.Name]
		waits := m.value("go_sql_wait_count_total") - first.value("go_sql_wait_count_total")
		if waits > 0 {
			w.out.poolWaits[p.kind] += waits / took
			waited := (m.value("go_sql_wait_duration_seconds_total") - first.value("go_sql_wait_duration_seconds_total")) / waits
			w.out.poolWaited[p.kind] = max(w.out.poolWaited[p.kind], seconds(waited))
		}
		if p.kind == "worker" {
			w.out.taskWait = max(w.out.taskWait, seconds(mean(first, m, "temporal_workflow_task_schedule_to_start_latency_seconds", "task_queue", "preferences")))
			w.out.actWait = max(w.out.actWait, seconds(mean(first, m, "temporal_activity_schedule_to_start_latency_seconds", "task_queue", "preferences")))
			w.out.settledRate += (m.value("accord_operations_settled_total") - first.value("accord_operations_settled_total")) / took
		}
	}
	return w.out, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
