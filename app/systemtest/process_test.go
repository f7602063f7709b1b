package systemtest

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	running "accord/app/systemtest/process"
)

// process is one running accord command. It ends with the test.
type process struct{ *running.Process }

// launch starts a command whose log is shown when the test fails.
func (p *processes) launch(t *testing.T, name string, arguments ...string) *process {
	t.Helper()
	return p.launchWith(t, nil, name, arguments...)
}

func (p *processes) launchWith(t *testing.T, settings []string, name string, arguments ...string) *process {
	t.Helper()
	path, err := command()
	require.NoError(t, err)
	started, err := running.Launch(p.logs, name, append(slices.Clone(p.env), settings...), path, arguments...)
	require.NoError(t, err)
	run := &process{started}
	p.owner.Cleanup(func() { run.end(p.owner) })
	return run
}

// end stops the process as an operator would, and shows its log when the test has failed.
func (r *process) end(t *testing.T) {
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the end of what %s wrote:\n%s", r.Name, r.Tail())
	}
}

// kill is kill -9, and returns when the process is gone.
func (r *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, r.Kill())
}

func (r *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, r.Signal(s))
}

func (r *process) awaitLog(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	require.NoError(t, r.Await(ctx, text))
}
