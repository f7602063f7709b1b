package streamtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	streams = 10_000
	// What one instance may grow by, everything included: measured at the highest point, not at rest.
	maxGrowth = 500 << 20
	// Files that either process needs besides one per stream.
	otherFiles = 200
	// Everything below is bounded by this: nothing hangs for longer.
	patience = 30 * time.Second
)

func TestTenThousandStreams(t *testing.T) {
	raiseFileLimit(t, streams+otherFiles)
	s := start(t)
	closeAll(openAll(t, s.state.Address, 200, 1)) // warm: what is made once is not growth
	before := s.atRest(t)
	rss := s.memory(t, "VmRSS")

	began := time.Now()
	clients := openAll(t, s.state.Address, streams, 1)
	opened := time.Since(began)

	began = time.Now()
	s.say(t, "publish")
	for _, c := range clients {
		c.await(t, `"0.2"`)
	}
	told := time.Since(began)
	peak, atRest := s.memory(t, "VmHWM")-rss, s.say(t, "state")
	t.Logf("%d streams: opened in %s, all told of a change in %s; peak RSS growth %.0f MiB (%.1f KiB a stream), heap %.1f KiB and %.2f goroutines a stream",
		streams, opened.Round(time.Millisecond), told.Round(time.Millisecond), mib(peak), float64(peak)/1024/streams,
		float64(atRest.Heap-before.Heap)/1024/streams, float64(atRest.Goroutines-before.Goroutines)/streams)
	require.Less(t, peak, int64(maxGrowth), "%.0f MiB for %d streams", mib(peak), streams)
	require.EqualValues(t, streams, atRest.Streams)

	closeAll(clients)
	after := s.atRest(t)
	require.Equal(t, before.Goroutines, after.Goroutines, "goroutines that stay")
	// The runtime keeps half a KiB of every goroutine there ever was, for the next one; that is all that may stay,
	// and it does not grow.
	require.Less(t, mib(int64(after.Heap))-mib(int64(before.Heap)), 16., "MiB of heap in use that stay")
	closeAll(openAll(t, s.state.Address, 2_000, 2))
	again := s.atRest(t)
	require.Equal(t, before.Goroutines, again.Goroutines)
	require.Less(t, mib(int64(again.Heap))-mib(int64(after.Heap)), 2., "MiB that stay of 2,000 more")

	// And they all end, told when to come back, when the process stops.
	last := openAll(t, s.state.Address, 2_000, 2)
	began = time.Now()
	stopped := s.say(t, "stop")
	took := time.Since(began)
	for _, c := range last {
		c.awaitEnd(t)
	}
	t.Logf("2000 streams drained in %s", took.Round(time.Millisecond))
	require.Less(t, took, 5*time.Second)
	require.Zero(t, stopped.Streams)
	closeAll(last)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// raiseFileLimit does for this process what the server's own process inherits.
func raiseFileLimit(t *testing.T, need uint64) {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Max < need {
		t.Fatalf("THIS MACHINE ALLOWS %d OPEN FILES PER PROCESS (ulimit -Hn), and this test needs %d: raise the limit", limit.Max, need)
	}
	if limit.Cur < need {
		limit.Cur = limit.Max
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	}
}

// server is the process that is measured.
type server struct {
	pid     int
	in      io.WriteCloser
	answers *bufio.Scanner
	state   state
}

// start builds the server without the race detector, which would be most of what is measured; it watches the same code
// in the other tests.
func start(t *testing.T) *server {
	t.Helper()
	program := filepath.Join(t.TempDir(), "server.test")
	out, err := exec.Command("go", "test", "-c", "-o", program, "accord/app/streamtest").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), asServer+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	bound := time.AfterFunc(4*patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = in.Close() // which ends it, as does the end of this process
		err := cmd.Wait()
		bound.Stop()
		if err != nil {
			t.Errorf("the server ended with %v\n%s", err, stderr.String())
		}
	})
	s := &server{pid: cmd.Process.Pid, in: in, answers: bufio.NewScanner(stdout)}
	s.say(t, "state")
	return s
}

// say sends a command and waits until it is done.
func (s *server) say(t *testing.T, command string) state {
	t.Helper()
	_, err := fmt.Fprintln(s.in, command)
	require.NoError(t, err)
	require.True(t, s.answers.Scan(), "the server is gone: %v", s.answers.Err())
	s.state = state{}
	require.NoError(t, json.Unmarshal(s.answers.Bytes(), &s.state))
	return s.state
}

// atRest is the server's state once it has noticed that all connections are closed.
func (s *server) atRest(t *testing.T) state {
	t.Helper()
	calm := 0
	var last state
	for end := time.Now().Add(patience); calm < 3; {
		require.True(t, time.Now().Before(end), "it does not come to rest: %+v", last)
		now := s.say(t, "state")
		if now.Conns == 0 && now.Streams == 0 && now.Goroutines == last.Goroutines {
			calm++
		} else {
			calm = 0
		}
		last = now
	}
	return last
}

// memory is a figure of the server's from /proc, in bytes.
func (s *server) memory(t *testing.T, name string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatalf("no %s in %s", name, status)
	return 0
}

// client is one connection with a stream. Thousands are read one after the other: what has come waits in the kernel.
type client struct {
	conn net.Conn
	got  []byte
}

// openAll opens streams: 6 of 10 of customers, the others of installations and of nobody. Each is there when its first
// event is.
func openAll(t *testing.T, address string, n int, global int) []*client {
	t.Helper()
	clients, failed := make([]*client, n), make(chan error, n)
	var wg sync.WaitGroup
	const dialers = 32
	for d := range dialers {
		wg.Go(func() {
			for i := d; i < n; i += dialers {
				c, err := open(address, i)
				if err != nil {
					failed <- err
					return
				}
				clients[i] = c
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	for _, c := range clients {
		c.await(t, fmt.Sprintf(`"0.%d"`, global))
	}
	return clients
}

func open(address string, i int) (*client, error) {
	// From several addresses, so that ports are not used up by connections that were closed a moment ago.
	from := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}}
	conn, err := from.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	who := ""
	switch {
	case i%10 < 6:
		who = fmt.Sprintf("Authorization: Bearer customer-%d\r\n", i)
	case i%10 < 8:
		who = fmt.Sprintf("Accord-Installation-Id: 00000000-0000-4000-8000-%012d\r\n", i)
	}
	_, err = io.WriteString(conn, "GET /v1/inbox/stream HTTP/1.1\r\nHost: accord\r\nUser-Agent: test\r\nAccept: text/event-stream\r\n"+who+"\r\n")
	return &client{conn: conn}, err
}

func (c *client) await(t *testing.T, what string) {
	t.Helper()
	require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	var room [2048]byte
	for !bytes.Contains(c.got, []byte(what)) {
		n, err := c.conn.Read(room[:])
		c.got = append(c.got, room[:n]...)
		require.NoError(t, err, "waiting for %s after %q", what, c.got)
	}
	c.got = nil
}

// awaitEnd reads to the end, before which the client must be told when to come back.
func (c *client) awaitEnd(t *testing.T) {
	t.Helper()
	require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	rest, err := io.ReadAll(c.conn)
	require.NoError(t, err)
	require.Contains(t, string(rest), "retry: ")
}

func closeAll(clients []*client) {
	for _, c := range clients {
		_ = c.conn.Close()
	}
}
