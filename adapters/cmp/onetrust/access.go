package onetrust

import (
	"context"
	"net/http"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

// renewBefore is how long before its end an access token is not used any more, for slow calls and clocks that differ.
// A token that lives shorter than twice that is renewed at half its life.
const renewBefore = time.Minute

// accessTokens fetches and keeps the OAuth 2 access token (client credentials). One fetch serves all who wait.
type accessTokens struct {
	api    ports.VendorAPI
	form   map[string]string
	clock  func() time.Time
	turn   chan struct{} // held while looking or fetching; a channel, so that a waiting call can be given up
	token  string
	usable time.Time // until when
}

func newAccessTokens(api ports.VendorAPI, id, secret string, clock func() time.Time) *accessTokens {
	return &accessTokens{
		api: api, clock: clock, turn: make(chan struct{}, 1),
		form: map[string]string{"grant_type": "client_credentials", "client_id": id, "client_secret": secret},
	}
}

// get answers a token that can be used now.
func (a *accessTokens) get(ctx context.Context) (string, error) {
	if err := a.lock(ctx); err != nil {
		return "", err
	}
	defer a.unlock()
	if a.token != "" && a.clock().Before(a.usable) {
		return a.token, nil
	}
	return a.fetch(ctx)
}

func (a *accessTokens) fetch(ctx context.Context) (string, error) {
	var answer struct {
		Token     string `json:"access_token"`
		ExpiresIn int64  `json:"expires_in"` // seconds
	}
	asked := a.clock()
	got, err := a.api.Call(ctx, ports.VendorCall{
		Name: "oauth.token", Method: http.MethodPost, Path: "/api/access/v1/oauth/token", Form: a.form, Out: &answer,
		Expect: []int{http.StatusBadRequest, http.StatusForbidden},
	})
	switch {
	case err != nil:
		return "", err
	case got.Status/100 != 2:
		// OAuth answers a wrong client with 400 as well. It is our client that is refused, not the customer's change, and
		// the policy cannot know that: to it the call is like any other.
		return "", &ports.TargetError{Target: preference.CMP, Class: ports.Transient, Code: "credentials", Status: got.Status}
	case answer.Token == "":
		return "", &ports.TargetError{Target: preference.CMP, Class: ports.Transient, Code: "malformed", Status: got.Status}
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	a.token, a.usable = answer.Token, asked.Add(max(life-renewBefore, life/2))
	return a.token, nil
}

// forget makes the next get fetch, unless somebody has fetched another token meanwhile.
func (a *accessTokens) forget(ctx context.Context, token string) {
	if a.lock(ctx) != nil {
		return // nobody waits for the answer any more, and the token will be refused to the next one too
	}
	defer a.unlock()
	if a.token == token {
		a.token = ""
	}
}

func (a *accessTokens) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *accessTokens) unlock() { <-a.turn }
