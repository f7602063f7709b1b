package sandbox

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childState, when set, makes the test binary a sandbox process that a test can kill.
const childState = "SANDBOX_TEST_CHILD_STATE"

// serveAsChild prints its address and serves until it is killed.
func serveAsChild(path string) {
	cfg := DefaultConfig()
	cfg.StatePath, cfg.ApplyDelay = path, 50*time.Millisecond
	s, err := New(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(httptest.NewServer(s).URL)
	select {}
}

func TestAnsweredWritesSurviveKill9(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childState+"="+path)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 20 {
		body := strings.NewReader(subscribe(fmt.Sprintf("c%d", i)))
		r, err := http.NewRequest("POST", strings.TrimSpace(address)+"/braze/users/track", body)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+DefaultConfig().BrazeAPIKey)
		res, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 201, res.StatusCode)
	}
	require.NoError(t, child.Process.Kill()) // at once after the last answer: the last writes are not applied yet
	require.Error(t, child.Wait())

	h := start(t, kept(path), func(c *Config) { c.Clock = time.Now })
	for i := range 20 {
		id := fmt.Sprintf("c%d", i)
		require.Eventually(t, func() bool { return h.email(id) == "subscribed" }, 10*time.Second, time.Millisecond, id)
	}
}

func BenchmarkTrackAndExport(b *testing.B) {
	cfg := DefaultConfig()
	cfg.StatePath, cfg.RateLimits = filepath.Join(b.TempDir(), "state"), RateLimits{}
	s, err := New(cfg)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	call := func(path, body string) {
		r := httptest.NewRequest("POST", "/braze"+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+cfg.BrazeAPIKey)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 201 {
			b.Fatal(w.Code)
		}
	}
	for b.Loop() {
		call("/users/track", subscribe("ada"))
		call("/users/export/ids", `{"external_ids":["ada"],"fields_to_export":["email_subscribe"]}`)
	}
}
