package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

// publisher is an issuer's JWKS endpoint that a test can change, break and count.
type publisher struct {
	*httptest.Server
	fetches atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc]
}

func newPublisher(t *testing.T, ids ...string) *publisher {
	t.Helper()
	p := &publisher{}
	p.publish(t, ids...)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		(*p.answer.Load())(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) says(h http.HandlerFunc) { p.answer.Store(&h) }

func (p *publisher) publish(t *testing.T, ids ...string) {
	t.Helper()
	// Keys of a kind nobody knows are part of every set.
	list := []any{map[string]string{"kty": "quantum", "kid": "q"}}
	for _, id := range ids {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		list = append(list, imported(t, public, map[string]any{jwk.KeyIDKey: id}))
	}
	body, err := json.Marshal(map[string]any{"keys": list})
	require.NoError(t, err)
	p.says(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
}

func (p *publisher) breaks() {
	p.says(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
}

type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return now.Add(time.Duration(c.at.Load())) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func newRemote(t *testing.T, url string) (*RemoteKeys, *clock) {
	t.Helper()
	k, err := NewRemoteKeys(url, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c := &clock{}
	k.now = c.now
	return k, c
}

func found(t *testing.T, k *RemoteKeys, id string) bool {
	t.Helper()
	key, err := k.Key(t.Context(), id)
	if err != nil {
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
		return false
	}
	got, _ := key.KeyID()
	require.Equal(t, id, got)
	return true
}

func TestKeysAreFetchedOnceAndKept(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, "one", "two")
	k, _ := newRemote(t, p.URL)
	for range 3 {
		require.True(t, found(t, k, "one"))
		require.True(t, found(t, k, "two"))
	}
	require.Equal(t, int64(1), p.fetches.Load())
}

func TestRotatedKeysAreFoundAndMadeUpIDsCostLittle(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, "one")
	k, c := newRemote(t, p.URL)
	require.True(t, found(t, k, "one"))
	p.publish(t, "two")
	for range 5 {
		require.False(t, found(t, k, "two"), "asked for less than ten seconds after the last fetch")
	}
	require.Equal(t, int64(1), p.fetches.Load())
	c.advance(refetchAtMost)
	require.True(t, found(t, k, "two"))
	require.False(t, found(t, k, "one"), "the issuer took it back")
	require.Equal(t, int64(2), p.fetches.Load())
}

func TestLastGoodKeysOutliveAnOutage(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, "one")
	k, c := newRemote(t, p.URL)
	require.True(t, found(t, k, "one"))
	for _, broken := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxKeySet+1)) },
	} {
		p.says(broken)
		c.advance(refetchAtMost)
		_, err := k.Key(t.Context(), "new")
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "it may be a new key: nobody is signed out for that")
		require.True(t, found(t, k, "one"))
		require.NoError(t, k.Ready(t.Context()))
	}
}

func TestAnIssuerThatIsDownFromTheStart(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, "one")
	p.breaks()
	k, c := newRemote(t, p.URL)
	require.Error(t, k.Ready(t.Context()))
	_, err := k.Key(t.Context(), "one")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	p.publish(t, "one")
	c.advance(refetchAtMost)
	require.True(t, found(t, k, "one"))
}

func TestManyWhoAskAtOnceCauseOneFetch(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, "one")
	ready, answer := make(chan struct{}), *p.answer.Load()
	p.says(func(w http.ResponseWriter, r *http.Request) { <-ready; answer(w, r) })
	k, _ := newRemote(t, p.URL)

	// One who hangs up is not kept, and does not take the others along.
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	_, err := k.Key(gone, "one")
	require.ErrorIs(t, err, context.Canceled)

	var wg sync.WaitGroup
	var good atomic.Int64
	for range 20 {
		wg.Go(func() {
			if _, err := k.Key(t.Context(), "one"); err == nil {
				good.Add(1)
			}
		})
	}
	close(ready)
	wg.Wait()
	require.Equal(t, int64(20), good.Load())
	require.Equal(t, int64(1), p.fetches.Load())
}

func TestRunFetchesAndEnds(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, "one")
	fetched, answer := make(chan struct{}, 1), *p.answer.Load()
	p.says(func(w http.ResponseWriter, r *http.Request) { answer(w, r); fetched <- struct{}{} })
	k, _ := newRemote(t, p.URL)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { k.Run(ctx); close(ended) }()
	<-fetched
	cancel()
	<-ended
}

func TestKeysComeOverASafeConnection(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"https://id.example.org/jwks": true, "http://127.0.0.1:8080/dev/jwks.json": true, "http://localhost/jwks": true, "http://[::1]/jwks": true,
		"http://id.example.org/jwks": false, "http://127.0.0.1.example.org/jwks": false, "ftp://id.example.org/": false, "/etc/passwd": false, "": false, "https://": false,
	} {
		_, err := NewRemoteKeys(url, slog.New(slog.DiscardHandler))
		require.Equal(t, ok, err == nil, url)
	}
}
