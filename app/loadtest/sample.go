package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// grows says of which tables it is by design that they grow with what is done. All others have to be flat: one that is new has
// to be put here to be allowed to grow.
var grows = map[string]nature{
	"operations": perChange, "operation_targets": perChange, "ledger": perChange, "ledger_leaves": perChange, "ledger_tree": perChange,
	"ledger_checkpoints": perChange, // one a minute for as long as something changes
	"client_events":      perEvent,  // kept for 35 days, so that an event is counted once
}

// fills says how long tables fill up before as much goes as comes: a customer is compared with the vendors ten minutes after a
// change, and by a schedule of its own.
var fills = map[string]time.Duration{"reconciliation_due": 11 * time.Minute}

// sampler measures everything there is to measure, at one moment after the other.
type sampler struct {
	system   *system
	database *pgx.Conn
	temporal client.Client
	tables   []string
	count    string // the statement that counts all tables
	began    time.Time
	record   *record
	byName   map[string]*series
}

func newSampler(ctx context.Context, s *system) (_ *sampler, err error) {
	m := &sampler{system: s, record: &record{}, byName: map[string]*series{}, began: time.Now()}
	defer func() {
		if err != nil {
			m.close(ctx)
		}
	}()
	if m.database, err = pgx.Connect(ctx, s.postgres.AdminURL()); err != nil {
		return nil, err
	}
	rows, err := m.database.Query(ctx, `SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public' AND relname <> 'goose_db_version' ORDER BY relname`)
	if err != nil {
		return nil, err
	}
	if m.tables, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, err
	}
	var parts []string
	for _, t := range m.tables {
		name := pgx.Identifier{t}.Sanitize()
		parts = append(parts, fmt.Sprintf(`SELECT '%s', count(*)::float8, pg_total_relation_size('%s')::float8 FROM %s`, t, name, name))
	}
	m.count = strings.Join(parts, " UNION ALL ")
	m.temporal, err = client.DialContext(ctx, client.Options{HostPort: s.temporal.Address(), Logger: silent{}})
	return m, err
}

// silent keeps Temporal's client from writing between what is told.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

func (m *sampler) close(ctx context.Context) {
	if m.temporal != nil {
		m.temporal.Close()
	}
	if m.database != nil {
		_ = m.database.Close(context.WithoutCancel(ctx))
	}
}

// set puts a value of the moment that is being measured.
func (m *sampler) set(like series, value float64) {
	s := m.byName[like.name]
	if s == nil {
		s = &like
		m.byName[like.name] = s
		m.record.series = append(m.record.series, s)
	}
	for len(s.values) < len(m.record.at)-1 { // it is new, or was not there for a while
		s.values = append(s.values, math.NaN())
	}
	s.values = append(s.values, value)
}

// take measures one moment. What can't be had then is unknown; the error says why.
func (m *sampler) take(ctx context.Context, events float64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r := m.record
	r.at, r.events = append(r.at, time.Since(m.began).Seconds()), append(r.events, events)
	err := errors.Join(m.processes(ctx), m.rows(ctx), m.runs(ctx), m.disk())
	if len(r.changes) < len(r.at) {
		before := 0.0
		if len(r.changes) > 0 {
			before = r.changes[len(r.changes)-1]
		}
		r.changes = append(r.changes, before)
	}
	for _, s := range r.series {
		for len(s.values) < len(r.at) {
			s.values = append(s.values, math.NaN())
		}
	}
	return err
}

func (m *sampler) processes(ctx context.Context) error {
	together := together{}
	for _, p := range m.system.parts {
		// What the sandbox remembers of every call is what tests are made of, and nothing of Accord's.
		memory := series{name: p.Name + ": memory", unit: "B", group: "memory", much: 12 << 20, share: .1}
		if p.kind == "sandbox" {
			memory.nature, memory.much, memory.share = perChange, 12<<20, .5
		}
		m.set(memory, float64(residentBytes(p.PID())))
		files := series{name: p.Name + ": open files", unit: "files", group: "files", much: 10, share: .1}
		if p.metrics == "" {
			m.set(files, float64(openFiles(p.PID())))
			continue
		}
		together.add(m, p.kind, files, float64(openFiles(p.PID())))
		said, err := scrape(ctx, p.metrics)
		if err != nil {
			return fmt.Errorf("measures of %s: %w", p.Name, err)
		}
		together.add(m, p.kind, series{name: p.Name + ": goroutines", unit: "goroutines", group: "goroutines", much: 20, share: .05}, said.value("go_goroutines"))
		m.set(series{name: p.Name + ": heap in use", unit: "B", group: "heap", much: 12 << 20, share: .15}, said.value("go_memstats_heap_inuse_bytes"))
	}
	together.set(m)
	// Their caches fill up with what there is, as they should.
	m.set(series{name: "Temporal: memory", unit: "B", group: "servers", nature: told}, float64(residentBytes(m.system.temporal.PID())))
	m.set(series{name: "Temporal: open files", unit: "files", group: "files", much: 10, share: .1}, float64(openFiles(m.system.temporal.PID())))
	var own float64
	for _, id := range childrenOf(m.system.postgres.PID()) {
		own += privateBytes(id)
	}
	m.set(series{name: "Postgres: memory of all sessions' own", unit: "B", group: "servers", much: 24 << 20, share: .15}, own)
	return nil
}

// together adds up what the processes of one kind have. Pollers scale by themselves and connections stay where they were made, so work
// moves from one process to its sibling, and what one gained the other lost: it is the sum that a leak makes grow. It is held to
// what one process may gain, and the share of it that each is shows in the report.
type together map[string]*sum

type sum struct {
	series

	value float64
}

// add notes what one process has, to be shown, and adds it to what its kind has, to be judged.
func (t together) add(m *sampler, kind string, of series, value float64) {
	_, what, _ := strings.Cut(of.name, ": ")
	all := of
	all.name, all.group = "all "+kind+" processes: "+what, ""
	if t[all.name] == nil {
		t[all.name] = &sum{series: all}
	}
	t[all.name].value += value
	of.nature = told
	m.set(of, value)
}

func (t together) set(m *sampler) {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		m.set(t[name].series, t[name].value)
	}
}

// privateBytes is what a process shares with nobody.
func privateBytes(id int) float64 {
	var kib float64
	if _, err := fmt.Sscanf(valueIn(fmt.Sprintf("/proc/%d/smaps_rollup", id), "Private_Dirty"), "%g kB", &kib); err != nil {
		return 0 // it has ended meanwhile
	}
	return kib * 1024
}

func (m *sampler) rows(ctx context.Context) error {
	var connections, size, wal float64
	if err := m.database.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename = 'accord')::float8,
		pg_database_size(current_database())::float8, (SELECT sum(size) FROM pg_ls_waldir())::float8`).Scan(&connections, &size, &wal); err != nil {
		return fmt.Errorf("ask Postgres: %w", err)
	}
	m.set(series{name: "Postgres: connections", unit: "connections", group: "files", much: 6, share: .1}, connections)
	m.set(series{name: "Postgres: size of the database", unit: "B", group: "stores", nature: perChange, much: 4 << 20, share: .5}, size)
	// It is written anew within max_wal_size.
	m.set(series{name: "Postgres: write-ahead log", unit: "B", group: "servers", nature: told}, wal)
	rows, err := m.database.Query(ctx, m.count)
	if err != nil {
		return fmt.Errorf("count rows: %w", err)
	}
	var table string
	var n, bytes float64
	_, err = pgx.ForEachRow(rows, []any{&table, &n, &bytes}, func() error {
		count := series{name: table + ": rows", unit: "rows", group: "rows", nature: grows[table], much: 100, share: .2, period: cleanUpEvery.Seconds(), warm: fills[table].Seconds()}
		taken := series{name: table + ": size", unit: "B", group: "sizes", nature: grows[table], much: 2 << 20, share: .3, period: cleanUpEvery.Seconds(), warm: fills[table].Seconds()}
		if count.nature != flat {
			count.group, count.much, count.share = "growing rows", 50, .3
			taken.much, taken.share = 1<<20, .5
		}
		m.set(count, n)
		m.set(taken, bytes)
		if table == "operations" {
			m.record.changes = append(m.record.changes, n)
		}
		return nil
	})
	return err
}

func (m *sampler) runs(ctx context.Context) error {
	running, err := m.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: `ExecutionStatus = "Running"`})
	if err != nil {
		return fmt.Errorf("ask Temporal: %w", err)
	}
	m.set(series{name: "Temporal: open runs", unit: "runs", group: "files", much: 20, share: .2}, float64(running.GetCount()))
	var stored float64
	files, _ := filepath.Glob(filepath.Join(m.system.state, "temporal", "temporal.db*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			stored += float64(info.Size())
		}
	}
	// Histories of closed runs, which the server keeps for a day.
	m.set(series{name: "Temporal: database", unit: "B", group: "stores", nature: perChange, much: 8 << 20, share: .3}, stored)
	return nil
}

// disk is everything that the whole system has stored.
func (m *sampler) disk() error {
	var sum float64
	err := filepath.WalkDir(m.system.state, func(_ string, e fs.DirEntry, err error) error {
		if err != nil { // it has gone meanwhile
			return nil //nolint:nilerr // see above
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += float64(info.Size())
		}
		return nil
	})
	m.set(series{name: "disk: everything", unit: "B", group: "stores", nature: told}, sum)
	return err
}

func trigger(ctx context.Context, m *sampler, schedule string) error {
	return m.temporal.ScheduleClient().GetHandle(ctx, schedule).Trigger(ctx, client.ScheduleTriggerOptions{})
}
