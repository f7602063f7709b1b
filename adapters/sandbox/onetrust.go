package sandbox

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	oneTrustPageSize    = 20
	oneTrustMaxPageSize = 50
	oneTrustTokenLife   = time.Hour
)

func oneTrust() *vendor {
	limit := limitBy("onetrust", func(l RateLimits) Rate { return l.OneTrust }, oneTrustLimited)
	return &vendor{
		target: targetCMP, prefix: "/onetrust", fail: oneTrustFail,
		endpoints: []endpoint{
			{
				pattern: "POST /request/v1/consentreceipts", class: callWrite, handle: oneTrustReceive,
				customers: func(_ *Sandbox, c *call) []string { return []string{c.text("identifier")} },
				guards:    []func(*Sandbox, *call) *reply{limit},
			},
			{
				pattern: "GET /api/consentmanager/v1/datasubjects/profiles", class: callRead, handle: oneTrustProfiles,
				customers: func(_ *Sandbox, c *call) []string { return []string{oneTrustIdentifier(c)} },
				guards:    []func(*Sandbox, *call) *reply{oneTrustAuth, limit},
			},
			{
				pattern: "DELETE /api/consentmanager/v2/datasubjects", class: callWrite, handle: oneTrustDelete,
				customers: func(_ *Sandbox, c *call) []string { return c.texts("identifiers") },
				guards:    []func(*Sandbox, *call) *reply{oneTrustAuth, limit},
			},
			{pattern: "POST /api/access/v1/oauth/token", class: callAuth, handle: oneTrustToken},
		},
	}
}

// oneTrustFail: who may not, or asks for what is not there, gets a plain string; the rest is JSON.
func oneTrustFail(status int, message string) reply {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return reply{status: status, body: plain(message)}
	}
	return reply{status: status, body: object{"status": status, "error": http.StatusText(status), "message": message}}
}

func oneTrustLimited(s *Sandbox, w window, now time.Time) reply {
	period := "MINUTE"
	if s.cfg.RateLimits.OneTrust.Per >= time.Hour {
		period = "HOUR"
	}
	return oneTrustFail(http.StatusTooManyRequests, "Rate limit exceeded").
		with("Retry-After", strconv.Itoa(w.secondsLeft(now))).
		with("ot-period", period).
		with("ot-ratelimit-event-id", newID()).
		with("ot-request-made", strconv.Itoa(w.limit-w.remaining+1)).
		with("ot-requests-allowed", strconv.Itoa(w.limit))
}

// oneTrustAccess is what an access token says. The signature makes it valid across restarts without a store.
type oneTrustAccess struct {
	Subject string `json:"sub"`
	Scope   string `json:"scope"`
	Expires int64  `json:"exp"`
}

// oneTrustAccessKey keeps access tokens apart from the collection point's, should the secrets be the same.
func oneTrustAccessKey(cfg Config) string { return "access " + cfg.OneTrustClientSecret }

func oneTrustToken(s *Sandbox, c *call) reply {
	form, err := oneTrustForm(c)
	if err != nil || form("grant_type") != "client_credentials" {
		return reply{status: http.StatusBadRequest, body: object{"error": "unsupported_grant_type"}}
	}
	id, secret, basic := c.BasicAuth()
	if !basic {
		id, secret = form("client_id"), form("client_secret")
	}
	same := subtle.ConstantTimeCompare([]byte(secret), []byte(s.cfg.OneTrustClientSecret)) == 1
	if id != s.cfg.OneTrustClientID || !same {
		return reply{status: http.StatusUnauthorized, body: object{"error": "invalid_client"}}
	}
	access := oneTrustAccess{id, "CONSENT CONSENT_READ", s.cfg.Clock().Add(oneTrustTokenLife).Unix()}
	return ok(object{
		"access_token": signJWT(oneTrustAccessKey(s.cfg), access), "token_type": "bearer",
		"expires_in": int(oneTrustTokenLife / time.Second), "scope": access.Scope,
	})
}

func oneTrustAuth(s *Sandbox, c *call) *reply {
	var access oneTrustAccess
	err := verifyJWT(oneTrustAccessKey(s.cfg), c.bearer("Bearer"), &access)
	if err == nil && s.cfg.Clock().Unix() < access.Expires {
		return nil
	}
	out := oneTrustFail(http.StatusUnauthorized, "Unauthorized")
	return &out
}

// oneTrustIdentifier is the subject of a profile read: a header, or in the deprecated form a query parameter.
func oneTrustIdentifier(c *call) string {
	if id := c.Header.Get("identifier"); id != "" {
		return id
	}
	return c.URL.Query().Get("identifier")
}

// oneTrustProfiles answers a page of data subjects. An unknown identifier is an empty page, not a 404.
func oneTrustProfiles(s *Sandbox, c *call) reply {
	number, okNumber := intQuery(c, "page", 0)
	size, okSize := intQuery(c, "size", oneTrustPageSize)
	since, okSince := timeQuery(c, "updatedSince")
	until, okUntil := timeQuery(c, "toDate")
	if !okNumber || !okSize || !okSince || !okUntil || number < 0 || size < 1 {
		return oneTrustFail(http.StatusBadRequest, "page, size, updatedSince or toDate is not valid")
	}
	size = min(size, oneTrustMaxPageSize)
	query := c.URL.Query()
	matches := func(d *oneTrustSubject) bool {
		purpose := query.Get("purposeGuid")
		return d != nil && (since.IsZero() || !d.UpdatedAt.Before(since)) && (until.IsZero() || !d.UpdatedAt.After(until)) &&
			(purpose == "" || d.Purposes[purpose] != nil)
	}
	content, total := []object{}, 0
	s.view(func(st *state) {
		ids := []string{oneTrustIdentifier(c)}
		if ids[0] == "" {
			ids = st.OneTrust.sorted()
		}
		for _, id := range ids {
			subject := st.OneTrust.Subjects[id]
			if !matches(subject) {
				continue
			}
			if total >= number*size && len(content) < size {
				content = append(content, subject.export(id))
			}
			total++
		}
	})
	page := object{
		"content": content, "number": number, "size": size, "numberOfElements": len(content),
		"first": number == 0, "last": (number+1)*size >= total, "empty": len(content) == 0,
	}
	if !slices.Contains(query["properties"], "ignoreCount") {
		page["totalElements"], page["totalPages"] = total, (total+size-1)/size
	}
	return ok(page)
}

// oneTrustMaxDeletions is how many data subjects one call may delete.
const oneTrustMaxDeletions = 999

// oneTrustDelete queues the deletion of data subjects. An unknown one is no error.
func oneTrustDelete(s *Sandbox, c *call) reply {
	ids := distinct(c.texts("identifiers"))
	if len(ids) == 0 || len(ids) > oneTrustMaxDeletions {
		return oneTrustFail(http.StatusBadRequest, "1 to 999 identifiers must be provided")
	}
	return s.update(func(tx *writer) reply {
		if err := tx.write(tx.async(targetCMP, ids, &oneTrustDeletion{ids})); err != nil {
			return oneTrustFail(http.StatusInternalServerError, "Internal Server Error")
		}
		return reply{status: http.StatusAccepted, body: object{"message": "accepted"}}
	})
}

func timeQuery(c *call, name string) (time.Time, bool) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}
