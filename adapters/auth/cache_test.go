package auth

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/ports"
)

// countingVerifier trusts every token that does not begin with "bad", until expires, and counts.
type countingVerifier struct {
	asked   atomic.Int64
	expires time.Time
}

func (v *countingVerifier) Verify(_ context.Context, token string) (ports.Principal, error) {
	v.asked.Add(1)
	if token[0] == 'b' {
		return ports.Principal{}, denied("it is bad")
	}
	return ports.Principal{Subject: token, Expires: v.expires}, nil
}

type keyGenerations struct {
	KeySource
	n atomic.Uint64
}

func (k *keyGenerations) Generation() uint64 { return k.n.Load() }

func newCache(next ports.TokenVerifier, keys KeySource) (*Cache, *clock) {
	c, at := NewCache(next, keys), &clock{}
	c.now = at.now
	return c, at
}

func trusted(t *testing.T, v ports.TokenVerifier, token string) bool {
	t.Helper()
	p, err := v.Verify(t.Context(), token)
	if err != nil {
		require.Equal(t, fault.Denied, fault.KindOf(err))
		return false
	}
	require.NotEmpty(t, p.Subject)
	return true
}

func TestTokensAreRememberedForAMinuteAtMost(t *testing.T) {
	t.Parallel()
	next := &countingVerifier{expires: now.Add(time.Hour)}
	c, at := newCache(next, issuerKeys{})
	for range 3 {
		p, err := c.Verify(t.Context(), "ada")
		require.NoError(t, err)
		require.Equal(t, ports.Principal{Subject: "ada", Expires: next.expires}, p)
	}
	require.EqualValues(t, 1, next.asked.Load())
	require.True(t, trusted(t, c, "grace"))
	require.EqualValues(t, 2, next.asked.Load(), "one token says nothing about another")
	at.advance(CachedFor - time.Nanosecond)
	require.True(t, trusted(t, c, "ada"))
	require.EqualValues(t, 2, next.asked.Load())
	at.advance(time.Nanosecond)
	require.True(t, trusted(t, c, "ada"))
	require.EqualValues(t, 3, next.asked.Load())
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	t.Parallel()
	next := &countingVerifier{expires: now.Add(time.Hour)}
	c, _ := newCache(next, issuerKeys{})
	require.False(t, trusted(t, c, "bad"))
	require.False(t, trusted(t, c, "bad"))
	require.EqualValues(t, 2, next.asked.Load())
	require.Zero(t, c.size())
	require.False(t, trusted(t, c, "b"+string(make([]byte, maxToken))))
}

func TestTokensAreNotRememberedPastTheirEnd(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	at := &clock{}
	v, err := NewVerifier(Config{Issuer: issuer, Audience: audience, Keys: keys, Now: at.now})
	require.NoError(t, err)
	counted := &throughVerifier{next: v}
	c := NewCache(counted, keys)
	c.now = at.now
	token := signed(t, jwa.EdDSA(), keys["ed"], header(nil), claims(map[string]any{"exp": now.Add(45 * time.Second).Unix()}))
	require.True(t, trusted(t, c, token))
	at.advance(14 * time.Second)
	require.True(t, trusted(t, c, token))
	require.EqualValues(t, 1, counted.asked.Load())
	at.advance(time.Second) // exp is the leeway away: from now on the verifier is asked each time
	require.True(t, trusted(t, c, token))
	at.advance(59 * time.Second)
	require.True(t, trusted(t, c, token))
	require.EqualValues(t, 3, counted.asked.Load())
	at.advance(2 * time.Second)
	require.False(t, trusted(t, c, token), "exp and the leeway are over")
	require.Equal(t, 1, c.size(), "what is about to end is not kept")
}

type throughVerifier struct {
	asked atomic.Int64
	next  ports.TokenVerifier
}

func (v *throughVerifier) Verify(ctx context.Context, token string) (ports.Principal, error) {
	v.asked.Add(1)
	return v.next.Verify(ctx, token)
}

func TestTokensWhoseEndIsNotKnownAreNotRemembered(t *testing.T) {
	t.Parallel()
	next := &countingVerifier{}
	c, _ := newCache(next, issuerKeys{})
	require.True(t, trusted(t, c, "ada"))
	require.True(t, trusted(t, c, "ada"))
	require.EqualValues(t, 2, next.asked.Load())
}

func TestTokensOfAKeyThatIsGoneAreRefused(t *testing.T) {
	t.Parallel()
	t.Run("at once, when the keys say so", func(t *testing.T) {
		t.Parallel()
		p := newPublisher(t, "old", "other")
		k, at := newRemote(t, p.URL)
		require.True(t, found(t, k, "old"))
		first := k.Generation()
		require.NoError(t, k.refresh(t.Context()))
		require.Equal(t, first, k.Generation(), "the same keys again")
		c, _ := newCache(&keyVerifier{keys: k, id: "old"}, k)
		require.True(t, trusted(t, c, "ada"))
		p.publish(t, "other")
		at.advance(refetchAtMost)
		require.True(t, trusted(t, c, "ada"), "nobody knows yet")
		require.NoError(t, k.refresh(t.Context()))
		require.Greater(t, k.Generation(), first)
		require.False(t, trusted(t, c, "ada"))
		p.breaks()
		require.Error(t, k.refresh(t.Context()))
		require.Equal(t, first+1, k.Generation(), "an outage changes nothing")
	})
	t.Run("within a minute, when they do not", func(t *testing.T) {
		t.Parallel()
		keys := issuerKeys{"old": newKeys(t)["ed"]}
		c, at := newCache(&keyVerifier{keys: keys, id: "old"}, keys)
		require.True(t, trusted(t, c, "ada"))
		delete(keys, "old")
		at.advance(CachedFor - time.Nanosecond)
		require.True(t, trusted(t, c, "ada"))
		at.advance(time.Nanosecond)
		require.False(t, trusted(t, c, "ada"))
	})
}

// keyVerifier trusts whoever as long as its key is there.
type keyVerifier struct {
	keys KeySource
	id   string
}

func (v *keyVerifier) Verify(ctx context.Context, token string) (ports.Principal, error) {
	if _, err := v.keys.Key(ctx, v.id); err != nil {
		return ports.Principal{}, denied("its issuer has no such key")
	}
	return ports.Principal{Subject: token, Expires: now.Add(time.Hour)}, nil
}

// Keys that change while a token is being checked: what was found out about the old ones must not outlive them.
func TestKeysThatChangeWhileATokenIsChecked(t *testing.T) {
	t.Parallel()
	keys := &keyGenerations{KeySource: issuerKeys{}}
	next := &changingVerifier{keys: keys}
	c, _ := newCache(next, keys)
	require.True(t, trusted(t, c, "ada"))
	require.True(t, trusted(t, c, "ada"))
	require.EqualValues(t, 2, next.asked.Load())
}

type changingVerifier struct {
	asked atomic.Int64
	keys  *keyGenerations
}

func (v *changingVerifier) Verify(_ context.Context, token string) (ports.Principal, error) {
	if v.asked.Add(1) == 1 {
		v.keys.n.Add(1)
	}
	return ports.Principal{Subject: token, Expires: now.Add(time.Hour)}, nil
}

func TestOnlySoManyTokensAreRemembered(t *testing.T) {
	t.Parallel()
	next := &countingVerifier{expires: now.Add(time.Hour)}
	c, _ := newCache(next, issuerKeys{})
	c.most = 100
	for i := range 1000 {
		require.True(t, trusted(t, c, strconv.Itoa(i)))
		require.LessOrEqual(t, c.size(), c.most)
	}
	asked := next.asked.Load()
	for i := 990; i < 1000; i++ {
		require.True(t, trusted(t, c, strconv.Itoa(i)))
	}
	require.Equal(t, asked, next.asked.Load(), "the latest are there")
}

func TestManyAskTheCacheAtOnce(t *testing.T) {
	t.Parallel()
	keys := &keyGenerations{KeySource: issuerKeys{}}
	c, at := newCache(&countingVerifier{expires: now.Add(time.Hour)}, keys)
	c.most = 20
	var wg sync.WaitGroup
	wrong := make([]bool, 8)
	for w := range 8 {
		wg.Go(func() {
			for i := range 500 {
				want := strconv.Itoa(i % 30)
				p, err := c.Verify(context.Background(), want)
				wrong[w] = wrong[w] || err != nil || p.Subject != want
				if i%100 == w {
					keys.n.Add(1)
					at.advance(time.Second)
				}
			}
		})
	}
	wg.Wait()
	require.False(t, slices.Contains(wrong, true))
	require.LessOrEqual(t, c.size(), c.most)
}

func BenchmarkVerify(b *testing.B) {
	issuer, err := NewDevIssuer(b.TempDir())
	require.NoError(b, err)
	v, err := issuer.Verifier()
	require.NoError(b, err)
	token, _, err := issuer.Mint("ada", "")
	require.NoError(b, err)
	for name, each := range map[string]ports.TokenVerifier{"signature": v, "cached": NewCache(v, issuer)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := each.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
