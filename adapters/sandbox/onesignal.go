package sandbox

import (
	"crypto/subtle"
	"net/http"
	"strconv"
	"time"
)

func oneSignal() *vendor {
	limit := limitBy("onesignal", func(l RateLimits) Rate { return l.OneSignal }, oneSignalLimited)
	reads := []func(*Sandbox, *call) *reply{oneSignalAuth, limit}
	writes := []func(*Sandbox, *call) *reply{oneSignalAuth, limit, oneSignalSubjectLimit}
	const (
		app  = "/apps/{app_id}"
		user = app + "/users/by/{alias_label}/{alias_id}"
		sub  = app + "/subscriptions/{subscription_id}"
	)
	type customers = func(*Sandbox, *call) []string
	read := func(path string, whom customers, handle func(*Sandbox, *call) reply) endpoint {
		return endpoint{pattern: "GET " + path, class: callRead, customers: whom, guards: reads, handle: handle}
	}
	write := func(pattern string, whom customers, handle func(*Sandbox, *call) reply) endpoint {
		return endpoint{pattern: pattern, class: callWrite, customers: whom, guards: writes, handle: handle}
	}
	return &vendor{
		target: targetPush, prefix: "/onesignal", fail: oneSignalFail,
		endpoints: []endpoint{
			write("POST "+app+"/users", oneSignalIdentityCustomers, oneSignalCreateUser),
			read(user, oneSignalAliasCustomers, oneSignalViewUser),
			write("PATCH "+user, oneSignalAliasCustomers, oneSignalUpdateUser),
			write("DELETE "+user, oneSignalAliasCustomers, oneSignalDeleteUser),
			read(user+"/identity", oneSignalAliasCustomers, oneSignalViewIdentity),
			write("PATCH "+user+"/identity", oneSignalAliasCustomers, oneSignalUpdateIdentity),
			write("POST "+user+"/subscriptions", oneSignalAliasCustomers, oneSignalAddSubscription),
			write("PATCH "+sub, oneSignalOwnerCustomers, oneSignalUpdateSubscription),
			write("DELETE "+sub, oneSignalOwnerCustomers, oneSignalDeleteSubscription),
			write("PATCH "+sub+"/owner", oneSignalTransferCustomers, oneSignalTransferSubscription),
			write("PATCH "+app+"/subscriptions_by_token/{token_type}/{token}", oneSignalTokenCustomers, oneSignalUpdateByToken),
		},
	}
}

func oneSignalFail(status int, message string) reply {
	return reply{status: status, body: object{"errors": []string{message}}}
}

func oneSignalNotFound(title string) reply {
	return reply{status: http.StatusNotFound, body: object{"errors": []object{{"code": "not_found", "title": title}}}}
}

func oneSignalLimited(_ *Sandbox, w window, now time.Time) reply {
	return reply{
		status: http.StatusTooManyRequests,
		body:   object{"errors": []string{"API rate limit exceeded"}, "limit": strconv.Itoa(w.limit)},
	}.with("Retry-After", strconv.Itoa(w.secondsLeft(now)))
}

func oneSignalAuth(s *Sandbox, c *call) *reply {
	key := subtle.ConstantTimeCompare([]byte(c.bearer("Key")), []byte(s.cfg.OneSignalAPIKey)) == 1
	if key && c.PathValue("app_id") == s.cfg.OneSignalAppID {
		return nil
	}
	out := oneSignalFail(http.StatusForbidden,
		"Access denied.  Please include an 'Authorization: ...' header with a valid API key.")
	return &out
}

// oneSignalSubjectLimit is the limit per user or subscription, when it is on.
func oneSignalSubjectLimit(s *Sandbox, c *call) *reply {
	rate := s.cfg.RateLimits.OneSignalPerSubject
	subject := c.PathValue("alias_label") + "/" + c.PathValue("alias_id")
	switch {
	case rate.unlimited():
		return nil
	case c.PathValue("subscription_id") != "":
		subject = "subscription/" + c.PathValue("subscription_id")
	case c.PathValue("token") != "":
		subject = "token/" + c.PathValue("token_type") + "/" + c.PathValue("token")
	case subject == "/":
		subject = aliasExternalID + "/" + textOf(objectOf(c.object["identity"])[aliasExternalID])
	}
	now := s.cfg.Clock()
	if w, allowed := s.limits.take("onesignal "+subject, rate, now, 1); !allowed {
		out := oneSignalLimited(s, w, now)
		return &out
	}
	return nil
}

func oneSignalIdentityCustomers(_ *Sandbox, c *call) []string {
	return []string{textOf(objectOf(c.object["identity"])[aliasExternalID])}
}

func oneSignalAliasCustomers(s *Sandbox, c *call) (out []string) {
	label, id := c.PathValue("alias_label"), c.PathValue("alias_id")
	if label == aliasExternalID { // also a person the vendor has not heard of
		return []string{id}
	}
	s.view(func(st *state) {
		if u := st.OneSignal.user(label, id); u != nil {
			out = []string{u.Aliases[aliasExternalID]}
		}
	})
	return out
}

func oneSignalOwnerCustomers(s *Sandbox, c *call) (out []string) {
	s.view(func(st *state) {
		if sub := st.OneSignal.Subscriptions[c.PathValue("subscription_id")]; sub != nil {
			out = []string{st.OneSignal.customerOf(sub.User)}
		}
	})
	return out
}

func oneSignalTokenCustomers(s *Sandbox, c *call) (out []string) {
	s.view(func(st *state) {
		if sub := st.OneSignal.byToken(c.PathValue("token_type"), c.PathValue("token")); sub != nil {
			out = []string{st.OneSignal.customerOf(sub.User)}
		}
	})
	return out
}

// oneSignalTransferCustomers: a transfer concerns who gives and who gets.
func oneSignalTransferCustomers(s *Sandbox, c *call) []string {
	return append(oneSignalOwnerCustomers(s, c), oneSignalIdentityCustomers(s, c)...)
}

// oneSignalWritten answers a write that was journaled, or the vendor's 503 when it could not be.
func oneSignalWritten(err error, status int, body any) reply {
	if err != nil {
		return oneSignalFail(http.StatusServiceUnavailable, "Service temporarily unavailable")
	}
	return reply{status: status, body: body}
}
