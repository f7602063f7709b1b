package sandbox

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// brazeMaxIDs is how many ids one list of a Braze call may hold.
const brazeMaxIDs = 50

func braze() *vendor {
	const general, exports = "braze", "braze_export"
	generalLimit := limitBy(general, func(l RateLimits) Rate { return l.Braze }, brazeLimited)
	exportLimit := limitBy(exports, func(l RateLimits) Rate { return l.BrazeExport }, brazeLimited)
	common := []func(*Sandbox, *call) *reply{brazeAuth, generalLimit}
	return &vendor{
		target: targetCRM, prefix: "/braze", fail: brazeFail, decorate: brazeHeaders,
		endpoints: []endpoint{
			{"POST /users/track", callWrite, general, brazeTrackCustomers, common, brazeTrack},
			{"POST /v2/subscription/status/set", callWrite, general, brazeGroupCustomers, common, brazeSetGroups},
			{"GET /subscription/status/get", callRead, general, brazeQueryCustomers, common, brazeGroupStatus},
			{"GET /subscription/user/status", callRead, general, brazeQueryCustomers, common, brazeUserStatus},
			{
				"POST /users/export/ids", callRead, exports, brazeBodyCustomers,
				[]func(*Sandbox, *call) *reply{brazeAuth, exportLimit}, brazeExport,
			},
			{"POST /users/delete", callWrite, general, brazeBodyCustomers, common, brazeDelete},
		},
	}
}

func brazeFail(status int, message string) reply {
	return reply{status: status, body: object{"message": message}}
}

func brazeLimited(*Sandbox, window, time.Time) reply {
	return brazeFail(http.StatusTooManyRequests, "You have exceeded the rate limit. Please try again later.")
}

// brazeHeaders tell the state of the rate limit with every answer.
func brazeHeaders(s *Sandbox, e endpoint, out reply) reply {
	rate := s.cfg.RateLimits.Braze
	if e.limited == "braze_export" {
		rate = s.cfg.RateLimits.BrazeExport
	}
	if rate.unlimited() {
		return out
	}
	w, _ := s.limits.take(e.limited, rate, s.cfg.Clock(), 0)
	return out.with("X-Ratelimit-Limit", strconv.Itoa(w.limit)).
		with("X-Ratelimit-Remaining", strconv.Itoa(w.remaining)).
		with("X-Ratelimit-Reset", strconv.FormatInt(w.reset.Unix(), 10))
}

func brazeAuth(s *Sandbox, c *call) *reply {
	if subtle.ConstantTimeCompare([]byte(c.bearer("Bearer")), []byte(s.cfg.BrazeAPIKey)) == 1 {
		return nil
	}
	out := brazeFail(http.StatusUnauthorized, "Invalid API key")
	return &out
}

func brazeBodyCustomers(_ *Sandbox, c *call) []string { return c.texts("external_ids") }

func brazeQueryCustomers(_ *Sandbox, c *call) []string { return brazeQuery(c, "external_id") }

func brazeGroupCustomers(_ *Sandbox, c *call) []string {
	var out []string
	for _, group := range c.objects("subscription_groups") {
		out = append(out, textsOf(group["external_ids"])...)
	}
	return out
}

// brazeQuery reads a query parameter given once or as a list: external_id=a, or external_id[]=a&external_id[]=b.
func brazeQuery(c *call, name string) []string {
	query := c.URL.Query()
	return distinct(slices.Concat(query[name], query[name+"[]"]))
}

func brazeSetGroups(s *Sandbox, c *call) reply {
	var changes []*brazeGroupChange
	for _, group := range c.objects("subscription_groups") {
		ch := &brazeGroupChange{
			GroupID: textOf(group["subscription_group_id"]), State: textOf(group["subscription_state"]),
			ExternalIDs: textsOf(group["external_ids"]), Emails: textsOf(group["emails"]), Phones: textsOf(group["phones"]),
		}
		if problem := brazeGroupProblem(s.cfg, ch); problem != "" {
			return brazeFail(http.StatusBadRequest, problem)
		}
		changes = append(changes, ch)
	}
	if len(changes) == 0 {
		return brazeFail(http.StatusBadRequest, "subscription_groups must be provided")
	}
	return s.update(func(tx *writer) reply {
		var effects []*effect
		for _, ch := range changes {
			effects = append(effects, tx.async(targetCRM, ch.ExternalIDs, ch))
		}
		return brazeAccepted(tx.write(effects...), object{"message": "success"})
	})
}

func brazeGroupProblem(cfg Config, ch *brazeGroupChange) string {
	_, known := cfg.group(ch.GroupID)
	switch {
	case !known:
		return "subscription_group_id is not valid"
	case ch.State != brazeSubscribed && ch.State != brazeUnsubscribed:
		return "subscription_state must be subscribed or unsubscribed"
	case len(ch.Emails) > 0 && len(ch.Phones) > 0:
		return "emails and phones cannot be combined"
	case len(ch.ExternalIDs)+len(ch.Emails)+len(ch.Phones) == 0:
		return "external_ids, emails or phones must be provided"
	case max(len(ch.ExternalIDs), len(ch.Emails), len(ch.Phones)) > brazeMaxIDs:
		return "too many ids: 50 per list"
	}
	return ""
}

// brazeAccepted is the 201 of a write that will be applied.
func brazeAccepted(err error, body any) reply {
	if err != nil {
		return brazeFail(http.StatusInternalServerError, "Internal server error")
	}
	return reply{status: http.StatusCreated, body: body}
}

func brazeGroupStatus(s *Sandbox, c *call) reply {
	groupID := c.URL.Query().Get("subscription_group_id")
	if _, known := s.cfg.group(groupID); !known {
		return brazeFail(http.StatusBadRequest, "subscription_group_id is not valid")
	}
	ids, emails, phones := brazeQuery(c, "external_id"), brazeQuery(c, "email"), brazeQuery(c, "phone")
	switch {
	case max(len(ids), len(emails), len(phones)) > brazeMaxIDs:
		return brazeFail(http.StatusBadRequest, "too many ids: 50 per list")
	case len(ids) == 0 && len(emails) > 0 && len(phones) > 0:
		return brazeFail(http.StatusBadRequest, "email and phone cannot be combined")
	case len(ids)+len(emails)+len(phones) == 0:
		return brazeFail(http.StatusBadRequest, "external_id, email or phone must be provided")
	}
	status := map[string]string{}
	s.view(func(st *state) {
		for _, id := range ids {
			status[id] = st.Braze.groupTitle(id, groupID)
		}
		if len(ids) > 0 { // external_id wins
			return
		}
		for _, value := range slices.Concat(emails, phones) {
			status[value] = "Unknown"
			for _, id := range slices.Concat(st.Braze.having("email", value), st.Braze.having("phone", value)) {
				status[value] = st.Braze.groupTitle(id, groupID)
			}
		}
	})
	return ok(object{"status": status, "message": "success"})
}

// groupTitle is how reads spell a group's state: in title case, where writes have lower case.
func (b *brazeState) groupTitle(externalID, groupID string) string {
	if p := b.Profiles[externalID]; p != nil {
		switch p.Groups[groupID] {
		case brazeSubscribed:
			return "Subscribed"
		case brazeUnsubscribed:
			return "Unsubscribed"
		}
	}
	return "Unknown"
}

func brazeUserStatus(s *Sandbox, c *call) reply {
	ids, emails, phones := brazeQuery(c, "external_id"), brazeQuery(c, "email"), brazeQuery(c, "phone")
	if max(len(ids), len(emails), len(phones)) > brazeMaxIDs || len(ids)+len(emails)+len(phones) == 0 {
		return brazeFail(http.StatusBadRequest, "1 to 50 of external_id, email or phone must be provided")
	}
	limit, okLimit := intQuery(c, "limit", 100)
	offset, okOffset := intQuery(c, "offset", 0)
	if !okLimit || !okOffset || limit < 1 || limit > 100 || offset < 0 {
		return brazeFail(http.StatusBadRequest, "limit must be 1 to 100 and offset not negative")
	}
	users := []object{}
	s.view(func(st *state) {
		for _, email := range emails {
			ids = append(ids, st.Braze.having("email", email)...)
		}
		for _, phone := range phones {
			ids = append(ids, st.Braze.having("phone", phone)...)
		}
		for _, id := range distinct(ids) {
			if p := st.Braze.Profiles[id]; p != nil {
				users = append(users, brazeUserGroups(s.cfg, st, id, p))
			}
		}
	})
	page := users[min(offset, len(users)):min(offset+limit, len(users))]
	return ok(object{"message": "success", "total_count": len(users), "users": page})
}

// brazeUserGroups lists the groups with history only.
func brazeUserGroups(cfg Config, st *state, id string, p *brazeProfile) object {
	groups := []object{}
	list := func(kind string, all []Channel) {
		for _, ch := range all {
			if p.Groups[ch.BrazeGroupID] != "" {
				groups = append(groups, object{
					"id": ch.BrazeGroupID, "name": ch.Key, "channel": kind, "status": st.Braze.groupTitle(id, ch.BrazeGroupID),
				})
			}
		}
	}
	list("push", cfg.Channels)
	list("email", cfg.Topics)
	return object{
		"external_id": id, "email": p.Standard["email"], "phone": p.Standard["phone"], "subscription_groups": groups,
	}
}

func brazeDelete(s *Sandbox, c *call) reply {
	ids := distinct(c.texts("external_ids"))
	if len(ids) == 0 || len(ids) > brazeMaxIDs {
		return brazeFail(http.StatusBadRequest, "1 to 50 external_ids must be provided")
	}
	return s.update(func(tx *writer) reply {
		deleted := 0
		for _, id := range ids {
			if tx.st.Braze.Profiles[id] != nil || tx.st.waits(targetCRM, []string{id}) {
				deleted++
			}
		}
		err := tx.write(tx.async(targetCRM, ids, &brazeDeletion{ids}))
		return brazeAccepted(err, object{"deleted": deleted, "message": "success"})
	})
}

func intQuery(c *call, name string, otherwise int) (int, bool) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
