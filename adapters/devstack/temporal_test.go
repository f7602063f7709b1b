package devstack

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
)

func startTemporal(t *testing.T, options TemporalOptions) *Temporal {
	t.Helper()
	s, err := StartTemporal(timeLimit(t), options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Stop(ctx))
	})
	return s
}

func dialTemporal(t *testing.T, s *Temporal) client.Client {
	t.Helper()
	c, err := client.DialContext(timeLimit(t), client.Options{HostPort: s.Address(), Namespace: s.options.Namespace, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestTemporalKeepsItsWorkflowsInItsFile(t *testing.T) {
	t.Parallel()
	up := make(chan struct{}, 1)
	options := TemporalOptions{
		BinDir: repoBin(t), DBFile: filepath.Join(t.TempDir(), "temporal.db"), Namespace: "accord", Restart: true,
		Progress: func(message string) {
			if strings.Contains(message, "up again") {
				up <- struct{}{}
			}
		},
	}
	s := startTemporal(t, options)
	require.FileExists(t, options.DBFile+"-wal", "the file is in write-ahead mode")
	_, err := dialTemporal(t, s).ExecuteWorkflow(timeLimit(t), client.StartWorkflowOptions{ID: "kept", TaskQueue: "none"}, "Kept")
	require.NoError(t, err)

	address, pid := s.Address(), s.PID()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	select {
	case <-up:
	case <-timeLimit(t).Done():
		t.Fatal("it stayed down")
	}
	require.Equal(t, address, s.Address())
	_, err = dialTemporal(t, s).DescribeWorkflowExecution(timeLimit(t), "kept", "")
	require.NoError(t, err, "after a kill")
	require.NoError(t, s.Stop(timeLimit(t)))

	s = startTemporal(t, options)
	_, err = dialTemporal(t, s).DescribeWorkflowExecution(timeLimit(t), "kept", "")
	require.NoError(t, err, "after a stop")
}

func TestTemporalHasAUserInterfaceWhenAskedFor(t *testing.T) {
	t.Parallel()
	port, err := freePort()
	require.NoError(t, err)
	s := startTemporal(t, TemporalOptions{BinDir: repoBin(t), UIPort: port})
	require.Equal(t, "http://127.0.0.1:"+strconv.Itoa(port), s.UIAddress())
	require.Eventually(t, func() bool {
		answer, err := http.Get(s.UIAddress())
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, patience, 20e6)
}

func TestTemporalNamesTheSettingOfATakenPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = StartTemporal(timeLimit(t), TemporalOptions{BinDir: repoBin(t), Port: port})
	require.ErrorContains(t, err, TemporalPortSetting)
	_, err = StartTemporal(timeLimit(t), TemporalOptions{BinDir: repoBin(t), UIPort: port})
	require.ErrorContains(t, err, TemporalUIPortSetting)
}

// sources is a copy of the real order in which none has a CLI, for a test to give it to some.
func sources(change map[string]func(binDir string) (string, error)) []temporalSource {
	var list []temporalSource
	for _, source := range temporalSources {
		source.get = func(_ context.Context, binDir string, _ Progress) (string, error) {
			if get, ok := change[source.name]; ok {
				return get(binDir)
			}
			return "", errors.New("none here")
		}
		list = append(list, source)
	}
	return list
}

func at(path string) func(string) (string, error) {
	return func(string) (string, error) { return path, nil }
}

func TestTheTemporalCLIIsLookedForInOrder(t *testing.T) {
	t.Parallel()
	all := map[string]func(string) (string, error){"kept": at("kept"), "PATH": at("PATH"), "download": at("download"), "go install": at("go install")}
	for _, want := range []string{"kept", "PATH", "download", "go install"} {
		found, err := findTemporal(t.Context(), t.TempDir(), sources(all), nil)
		require.NoError(t, err)
		require.Equal(t, want, found)
		delete(all, want)
	}
	_, err := findTemporal(t.Context(), t.TempDir(), sources(nil), nil)
	require.ErrorContains(t, err, "go install: none here")
	require.ErrorContains(t, err, "ACCORD_TEMPORAL_ADDRESS")
}

func TestTheTemporalCLIIsBuiltOnceForAllWhoNeedIt(t *testing.T) {
	t.Parallel()
	var built atomic.Int32
	list := sources(map[string]func(string) (string, error){
		"kept": func(binDir string) (string, error) { return keptTemporal(t.Context(), binDir, nil) },
		"go install": func(binDir string) (string, error) {
			built.Add(1)
			half := filepath.Join(binDir, "half")
			if err := os.WriteFile(half, nil, 0o700); err != nil {
				return "", err
			}
			return keep(half, binDir)
		},
	})
	bin := t.TempDir()
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			_, err := findTemporal(t.Context(), bin, list, nil)
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.EqualValues(t, 1, built.Load())
}

func TestAProgramThatIsNoTemporalCLIIsNotTaken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "temporal")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho old: --headless only\n"), 0o700))
	require.ErrorContains(t, canServe(t.Context(), path), "too old")
	require.ErrorContains(t, canServe(t.Context(), path+"-not"), "does not run")
}

// fakeGo is a program that does what script says where `go install` would build: in $GOBIN.
func fakeGo(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "go")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	return path
}

func TestABuiltTemporalCLIIsKept(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	path, err := goInstall(timeLimit(t), fakeGo(t, `echo "$@" >"$GOBIN/temporal"`), bin, nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(bin, "temporal"), path)
	asked, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(asked), temporalModule)
	left, err := os.ReadDir(bin)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing but the CLI")
}

func TestABuildThatFailsOrIsInterruptedLeavesNoTemporalCLI(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	_, err := goInstall(timeLimit(t), fakeGo(t, `: >"$GOBIN/temporal"; echo no network; exit 1`), bin, nil)
	require.ErrorContains(t, err, "no network")

	ctx, cancel := context.WithCancel(timeLimit(t))
	interrupt := func(string) { cancel() }
	_, err = goInstall(ctx, fakeGo(t, `: >"$GOBIN/temporal"; sleep 600`), bin, interrupt)
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(bin)
	require.NoError(t, err)
	require.Empty(t, left)
}
