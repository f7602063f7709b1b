package httpapi

import (
	"hash/maphash"
	"math"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// RateLimit is how often somebody may call: Burst at once, and Rate more each second. Zero for no limit.
type RateLimit struct {
	Rate  float64
	Burst int
}

// bucketShards keep callers from waiting for each other's lock.
const bucketShards = 64

// buckets hold one token bucket for each caller of a kind, for so many callers at most: whoever was not seen for longest is
// forgotten, and starts with a full one. Safe for concurrent use.
type buckets[K comparable] struct {
	limit  RateLimit
	name   string
	policy []string // the header's value
	seed   maphash.Seed
	shards [bucketShards]*lru.Cache[K, *rate.Limiter]
	now    func() time.Time
}

// newBuckets is nil, which lets everybody through, for no limit.
func newBuckets[K comparable](name string, limit RateLimit, callers int, now func() time.Time) (*buckets[K], error) {
	if limit.Rate <= 0 {
		return nil, nil
	}
	window := max(1, int(math.Ceil(float64(limit.Burst)/limit.Rate)))
	b := &buckets[K]{limit: limit, name: name, seed: maphash.MakeSeed(), now: now,
		policy: []string{`"` + name + `";q=` + strconv.Itoa(limit.Burst) + ";w=" + strconv.Itoa(window)}}
	for i := range b.shards {
		var err error
		if b.shards[i], err = lru.New[K, *rate.Limiter](max(1, callers/bucketShards)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// verdict on one call.
type verdict struct {
	ok     bool
	left   float64       // tokens
	wait   time.Duration // until there is one again
	refill time.Duration // until all are there again
}

func (b *buckets[K]) take(caller K) verdict {
	shard := b.shards[maphash.Comparable(b.seed, caller)%bucketShards]
	limiter, known := shard.Get(caller)
	if !known {
		limiter = rate.NewLimiter(rate.Limit(b.limit.Rate), b.limit.Burst)
		if first, raced, _ := shard.PeekOrAdd(caller, limiter); raced {
			limiter = first
		}
	}
	now := b.now()
	v := verdict{ok: limiter.AllowN(now, 1)}
	v.left = max(0, limiter.TokensAt(now))
	seconds := func(tokens float64) time.Duration { return time.Duration(tokens / b.limit.Rate * float64(time.Second)) }
	v.refill = seconds(float64(b.limit.Burst) - v.left)
	if !v.ok {
		v.wait = seconds(1 - v.left)
	}
	return v
}

// header is RateLimit: what is left, and in how many seconds all is there again.
func (b *buckets[K]) header(v verdict) []string {
	text := make([]byte, 0, 40)
	text = append(append(append(text, '"'), b.name...), `";r=`...)
	text = strconv.AppendInt(text, int64(v.left), 10)
	text = append(text, ";t="...)
	return []string{string(strconv.AppendInt(text, wholeSeconds(v.refill), 10))}
}

func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
