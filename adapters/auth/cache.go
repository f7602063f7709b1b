package auth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"accord/ports"
)

// Bounds of what a Cache remembers.
const (
	// MaxCached tokens are remembered at most; each is some hundred bytes.
	MaxCached = 20_000
	// CachedFor is for how long a token is trusted without looking at its signature again.
	CachedFor = time.Minute
)

// KeyGeneration tells that the issuer's keys have changed: it grows whenever they do. A KeySource that has it makes a
// Cache forget at once what was signed with keys that are gone.
type KeyGeneration interface {
	Generation() uint64
}

// Cache remembers which tokens were found to be good, since checking a signature costs more than most requests. An entry
// ends before its token does, with the set of keys it was checked with, and after CachedFor in any case. Refusals are not
// remembered. Safe for concurrent use; it implements ports.TokenVerifier.
type Cache struct {
	next ports.TokenVerifier
	keys KeyGeneration // nil for keys that do not say when they change
	now  func() time.Time
	most int

	mu          sync.RWMutex
	fresh, aged map[[sha256.Size]byte]verified // aged is what was fresh before; together they have at most most entries
}

type verified struct {
	principal  ports.Principal
	until      time.Time
	generation uint64
}

// NewCache puts a cache before a verifier. keys are those that the verifier uses.
func NewCache(next ports.TokenVerifier, keys KeySource) *Cache {
	c := &Cache{next: next, now: time.Now, most: MaxCached, fresh: map[[sha256.Size]byte]verified{}}
	c.keys, _ = keys.(KeyGeneration)
	return c
}

// Verify answers from memory where it can. See ports.TokenVerifier.
func (c *Cache) Verify(ctx context.Context, token string) (ports.Principal, error) {
	if len(token) > maxToken {
		return c.next.Verify(ctx, token) // which refuses it
	}
	key := sha256.Sum256([]byte(token)) // so that no token lies about in memory for longer than its request
	now, generation := c.now(), c.generation()
	if p, ok := c.find(key, now, generation); ok {
		return p, nil
	}
	p, err := c.next.Verify(ctx, token)
	if err != nil {
		return p, err
	}
	if until := endOf(p, now); until.After(now) {
		// The generation is that of before the check: keys that changed meanwhile make the entry useless, not wrong.
		c.keep(key, verified{principal: p, until: until, generation: generation})
	}
	return p, nil
}

// endOf is when an entry ends: with the token, by a clock that is ahead of ours. What is left of it then, for clocks that
// are behind, is for the verifier to grant. A token whose end is not known is not kept.
func endOf(p ports.Principal, now time.Time) time.Time {
	end := now.Add(CachedFor)
	if own := p.Expires.Add(-2 * Leeway); own.Before(end) { // Expires has the leeway in it
		return own
	}
	return end
}

func (c *Cache) generation() uint64 {
	if c.keys == nil {
		return 0
	}
	return c.keys.Generation()
}

func (c *Cache) find(key [sha256.Size]byte, now time.Time, generation uint64) (ports.Principal, bool) {
	c.mu.RLock()
	v, ok := c.fresh[key]
	if !ok {
		v, ok = c.aged[key]
	}
	c.mu.RUnlock()
	return v.principal, ok && v.generation == generation && now.Before(v.until)
}

// keep forgets the older half when there is no more room. Nothing needs to be looked for: an entry lives a minute at most.
func (c *Cache) keep(key [sha256.Size]byte, v verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fresh) >= c.most/2 {
		c.fresh, c.aged = make(map[[sha256.Size]byte]verified, c.most/2), c.fresh
	}
	c.fresh[key] = v
}

// size is how many entries there are, ended ones too.
func (c *Cache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.fresh) + len(c.aged)
}
