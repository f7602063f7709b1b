package sandbox

import (
	"cmp"
	"crypto/subtle"
	"html"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// iterablePlacement is the one placement that embedded messages are in.
const iterablePlacement = 1001

// iterablePriority is Iterable's medium, which a campaign has unless its author chooses another.
const iterablePriority = 300.5

func iterable() *vendor {
	limit := limitBy("iterable", func(l RateLimits) Rate { return l.Iterable }, iterableLimited)
	guards := []func(*Sandbox, *call) *reply{iterableAuth, limit}
	v := &vendor{
		target: targetEngagement, prefix: "/iterable", fail: iterableFail,
		endpoints: []endpoint{
			{pattern: "GET /api/inApp/getMessages", class: callRead, customers: iterableCustomers, guards: guards, handle: iterableInApp},
			{pattern: "GET /api/embedded-messaging/messages", class: callRead, customers: iterableCustomers, guards: guards, handle: iterableEmbedded},
		},
	}
	// What somebody did with a message is told by apps, with keys of their own.
	for _, path := range []string{
		"/api/events/inAppConsume", "/api/events/trackInAppOpen", "/api/events/trackInAppClick", "/api/events/trackInAppClose",
		"/api/events/trackInAppDelivery", "/api/embedded-messaging/events/click", "/api/embedded-messaging/events/received",
		"/api/embedded-messaging/events/session",
	} {
		v.endpoints = append(v.endpoints, endpoint{
			pattern: "POST " + path, class: callWrite, guards: guards,
			customers: func(_ *Sandbox, c *call) []string { return []string{c.text("userId"), c.text("email")} },
			handle: func(*Sandbox, *call) reply {
				return iterableFail(http.StatusForbidden, "A server-side API key may not be used for this call")
			},
		})
	}
	return v
}

func iterableCustomers(_ *Sandbox, c *call) []string {
	query := c.URL.Query()
	return []string{query.Get("userId"), query.Get("email")}
}

func iterableAnswer(status int, code, message string, params any) reply {
	return reply{status: status, body: object{"code": code, "msg": message, "params": params}}
}

// iterableFail knows the code for each status. 409 is a person that Iterable was told to forget.
func iterableFail(status int, message string) reply {
	code := "GenericError"
	var params any
	switch status {
	case http.StatusBadRequest:
		code = "BadParams"
	case http.StatusUnauthorized:
		code = "BadApiKey"
	case http.StatusForbidden:
		code = "Forbidden"
	case http.StatusNotFound:
		code = "NotFound"
	case http.StatusConflict:
		code = "ForgottenUserError"
	case http.StatusTooManyRequests:
		code, params = "RateLimitExceeded", object{"rateLimitLimit": 100, "rateLimitRemaining": 0, "rateLimitReset": 1}
	}
	return iterableAnswer(status, code, message, params)
}

// iterableLimited tells the waiting time in the body only.
func iterableLimited(_ *Sandbox, w window, now time.Time) reply {
	return iterableAnswer(http.StatusTooManyRequests, "RateLimitExceeded", "Too many requests", object{
		"rateLimitLimit": w.limit, "rateLimitRemaining": w.remaining, "rateLimitReset": w.secondsLeft(now),
	})
}

func iterableAuth(s *Sandbox, c *call) *reply {
	if subtle.ConstantTimeCompare([]byte(c.Header.Get("Api-Key")), []byte(s.cfg.IterableAPIKey)) == 1 {
		return nil
	}
	out := iterableFail(http.StatusUnauthorized, "Invalid API key")
	return &out
}

// iterableUser is the person a read is about. Either name will do; both, or none, will not.
func iterableUser(c *call, platforms ...string) (string, *reply) {
	query := c.URL.Query()
	bad := func(message string) (string, *reply) {
		out := iterableFail(http.StatusBadRequest, message)
		return "", &out
	}
	if (query.Get("userId") == "") == (query.Get("email") == "") {
		return bad("Exactly one of email and userId must be given")
	}
	if p := query.Get("platform"); p != "" && !slices.Contains(platforms, p) {
		return bad("platform is not one of those known; it is case-sensitive")
	}
	return cmp.Or(query.Get("userId"), query.Get("email")), nil
}

func iterableInApp(s *Sandbox, c *call) reply {
	user, refused := iterableUser(c, "iOS", "Android", "Web", "OTT")
	if refused != nil {
		return *refused
	}
	count, valid := intQuery(c, "count", 0)
	if !valid || count < 1 {
		return iterableFail(http.StatusBadRequest, "count must be given and be a positive number")
	}
	messages := []object{}
	s.view(func(st *state) {
		for _, m := range st.Engagement.forCustomer(user, s.now()) {
			if len(m.Actions) == 0 && len(messages) < count {
				messages = append(messages, m.inApp(user))
			}
		}
	})
	return ok(object{"inAppMessages": messages})
}

// iterableEmbedded leaves the content out of messages that the caller says it has. A placement that is asked for is there
// also when it is empty.
func iterableEmbedded(s *Sandbox, c *call) reply {
	user, refused := iterableUser(c, "iOS", "Android", "Web")
	if refused != nil {
		return *refused
	}
	query := c.URL.Query()
	messages := []object{}
	s.view(func(st *state) {
		for _, m := range st.Engagement.forCustomer(user, s.now()) {
			if len(m.Actions) > 0 {
				messages = append(messages, m.embedded(user, len(messages)+1, query["currentMessageIds"]))
			}
		}
	})
	placements := []object{}
	asked := distinct(query["placementIds"])
	if len(asked) == 0 && len(messages) > 0 {
		asked = []string{strconv.Itoa(iterablePlacement)}
	}
	for _, text := range asked {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return iterableFail(http.StatusBadRequest, "placementIds must be numbers")
		}
		held := []object{}
		if id == iterablePlacement {
			held = messages
		}
		placements = append(placements, object{"placementId": id, "embeddedMessages": held})
	}
	return ok(object{"placements": placements})
}

// forCustomer lists what shows to somebody now, the newest first.
func (g *engagementState) forCustomer(customer string, now time.Time) []*engagementMessage {
	var out []*engagementMessage
	for _, m := range g.Messages {
		if m.Audience.Type == audienceCustomers && slices.Contains(m.Audience.IDs, customer) && m.showsAt(now) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b *engagementMessage) int {
		return cmp.Or(b.sentAt().Compare(a.sentAt()), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func (m *engagementMessage) showsAt(now time.Time) bool {
	return m.RetractedAt == nil && !now.Before(m.sentAt()) && (m.Expiry == nil || now.Before(*m.Expiry))
}

// sentAt stays the same when a message is edited.
func (m *engagementMessage) sentAt() time.Time {
	if m.PublishAt != nil {
		return *m.PublishAt
	}
	return m.CreatedAt
}

func (m *engagementMessage) inApp(customer string) object {
	return object{
		"messageId": m.sendID(customer), "campaignId": m.campaignNumber(),
		"createdAt": m.sentAt().UnixMilli(), "expiresAt": milliseconds(m.Expiry),
		"read": false, "saveToInbox": true, "jsonOnly": false, "priorityLevel": iterablePriority,
		"inboxMetadata": object{"title": m.Title, "subtitle": m.Body, "icon": nil},
		"content": object{
			"html":                    "<h1>" + html.EscapeString(m.Title) + "</h1><p>" + html.EscapeString(m.Body) + "</p>",
			"inAppDisplaySettings":    object{"top": object{"percentage": 0}, "bottom": object{"percentage": 0}},
			"webInAppDisplaySettings": object{"position": "Center"},
		},
		"customPayload": m.payload(), "trigger": object{"type": "never"}, "messageType": "Mobile", "typeOfContent": "Static",
	}
}

func (m *engagementMessage) embedded(customer string, place int, has []string) object {
	id := m.sendID(customer)
	out := object{
		"metadata": object{
			"messageId": id, "campaignId": m.campaignNumber(), "placementId": iterablePlacement, "priorityOrder": place, "isProof": false,
		},
		"payload": m.payload(),
	}
	if slices.Contains(has, id) {
		return out
	}
	buttons := []object{}
	for _, raw := range m.Actions {
		action := objectOf(raw)
		buttons = append(buttons, object{
			"id": textOf(action["id"]), "title": textOf(action["title"]), "action": opensURL(textOf(action["deeplink"])),
		})
	}
	elements := object{"title": m.Title, "body": m.Body, "buttons": buttons, "text": []object{}}
	if m.ImageURL != nil {
		elements["mediaUrl"], elements["mediaUrlCaption"] = *m.ImageURL, ""
	}
	if m.Deeplink != nil {
		elements["defaultAction"] = opensURL(*m.Deeplink)
	}
	out["elements"] = elements
	return out
}

func opensURL(address string) object { return object{"type": "openUrl", "data": address} }

// payload is what Iterable has no place for, in our words.
func (m *engagementMessage) payload() object {
	return object{
		"deeplink": m.Deeplink, "category": m.Category, "image_url": m.ImageURL, "pinned": m.Pinned, "campaign": m.Campaign,
		"locale": m.Locale, "variants": m.Variants, "publish_at": m.sentAt(), "expiry": m.Expiry,
	}
}

// sendID names the send of this message to this customer.
func (m *engagementMessage) sendID(customer string) string {
	return derivedID("iterable", m.ID, customer)
}

// campaignNumber is Iterable's number for the message: the same for everybody.
func (m *engagementMessage) campaignNumber() int64 {
	n, err := strconv.ParseInt(derivedID("campaign", m.ID)[:7], 16, 64)
	if err != nil {
		panic("sandbox: an id is not hexadecimal: " + err.Error()) // cannot happen: derivedID writes it so
	}
	return n
}

func milliseconds(at *time.Time) any {
	if at == nil {
		return nil
	}
	return at.UnixMilli()
}
