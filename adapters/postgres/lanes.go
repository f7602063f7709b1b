package postgres

import (
	"context"
	"sync"

	"accord/domain/preference"
)

// lanes lets one update per customer through at a time. The row lock does that already, but everyone who waits for it
// holds a connection: a burst of changes by one customer would take the pool away from all others.
type lanes struct {
	mu   sync.Mutex
	lane map[preference.CustomerID]*lane
}

type lane struct {
	turn  chan struct{} // holds one value while somebody is in
	users int
}

// enter waits for the customer's lane; call leave afterwards. It fails only with ctx.
func (l *lanes) enter(ctx context.Context, customer preference.CustomerID) (leave func(), err error) {
	l.mu.Lock()
	if l.lane == nil {
		l.lane = map[preference.CustomerID]*lane{}
	}
	mine := l.lane[customer]
	if mine == nil {
		mine = &lane{turn: make(chan struct{}, 1)}
		l.lane[customer] = mine
	}
	mine.users++
	l.mu.Unlock()

	forget := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(l.lane, customer)
		}
	}
	select {
	case mine.turn <- struct{}{}:
		return func() { <-mine.turn; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
}
