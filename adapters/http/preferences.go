package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// GetPreferences answers with everything the customer chose.
func (s *server) GetPreferences(g *gin.Context, _ GetPreferencesParams) {
	s.view(g, func(v ports.PreferenceView) any { return presentPreferences(v) })
}

// GetPushPreferences answers with the push preferences.
func (s *server) GetPushPreferences(g *gin.Context, _ GetPushPreferencesParams) {
	s.view(g, func(v ports.PreferenceView) any { return presentPush(v) })
}

// GetEmailPreferences answers with the e-mail subscription.
func (s *server) GetEmailPreferences(g *gin.Context, _ GetEmailPreferencesParams) {
	s.view(g, func(v ports.PreferenceView) any { return presentEmail(v) })
}

func (s *server) view(g *gin.Context, present func(ports.PreferenceView) any) {
	v, err := s.preferences.View(g.Request.Context(), exchangeOf(g).customer)
	if err != nil {
		s.fail(g, err)
		return
	}
	tagged(g, v.Tag)
	if hasSeen(g.Request.Header, v.Tag) {
		g.Status(http.StatusNotModified)
		return
	}
	answerJSON(g, http.StatusOK, present(v))
}

// tagged lets the client keep the answer and ask whether it still holds; nobody in between may keep it.
func tagged(g *gin.Context, tag string) {
	g.Header("ETag", `"`+tag+`"`)
	g.Header("Cache-Control", "private, no-cache")
}

// PatchPushPreferences switches push or channels.
func (s *server) PatchPushPreferences(g *gin.Context, _ PatchPushPreferencesParams) {
	var body PushPatch
	canonical, ok := s.decode(g, &body)
	if !ok {
		return
	}
	change, err := body.change()
	s.change(g, canonical, change, err, func(v ports.PreferenceView) any { return presentPush(v) })
}

// change puts together what the patch says. Nothing at all is refused by SwitchPush, with what it could have said.
func (b PushPatch) change() (preference.Change, error) {
	hours, err := b.quietHours()
	if err != nil {
		return preference.Change{}, err
	}
	var out preference.Change
	if hours != nil && b.Enabled == nil && (b.Channels == nil || len(*b.Channels) == 0) {
		return preference.SetQuietHours(*hours, b.Wording.domain())
	}
	if out, err = preference.SwitchPush(b.Enabled, switches[preference.ChannelKey](b.Channels), b.Wording.domain()); err == nil && hours != nil {
		out = out.WithQuietHours(*hours)
	}
	return out, err
}

// quietHours that the patch sets; the zero value removes them, nil says nothing about them.
func (b PushPatch) quietHours() (*preference.QuietHours, error) {
	var given *struct {
		Start, End string
		TimeZone   string `json:"time_zone"`
	}
	switch err := json.Unmarshal(b.QuietHours, &given); {
	case len(b.QuietHours) == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("quiet hours that keep the schema do not fit their type: %w", err)
	case given == nil:
		return &preference.QuietHours{}, nil
	}
	hours, err := preference.NewQuietHours(given.Start, given.End, given.TimeZone)
	return &hours, err
}

// PatchEmailPreferences subscribes to or unsubscribes from e-mail marketing.
func (s *server) PatchEmailPreferences(g *gin.Context, _ PatchEmailPreferencesParams) {
	var body EmailPatch
	canonical, ok := s.decode(g, &body)
	if !ok {
		return
	}
	var status preference.EmailStatus
	if body.Marketing != nil {
		status = preference.EmailStatus(body.Marketing.Status)
	}
	change, err := preference.SwitchEmail(status, switches[preference.TopicKey](body.Topics), body.Wording.domain())
	s.change(g, canonical, change, err, func(v ports.PreferenceView) any { return presentEmail(v) })
}

// PutDevice registers or refreshes a device.
func (s *server) PutDevice(g *gin.Context, id DeviceId, _ PutDeviceParams) {
	var body DeviceRegistration
	canonical, ok := s.decode(g, &body)
	if !ok {
		return
	}
	device, err := preference.ParseDeviceID(id)
	if err != nil {
		s.fail(g, err)
		return
	}
	change, err := preference.RegisterDevice(preference.Registration{Device: device, Platform: preference.Platform(body.Platform), Token: body.Token,
		Permission: preference.Permission(body.Permission), AppVersion: textOf(body.AppVersion), Locale: textOf(body.Locale)})
	s.change(g, canonical, change, err, func(v ports.PreferenceView) any { return presentPush(v) })
}

// PatchDevice sets the device-level switches.
func (s *server) PatchDevice(g *gin.Context, id DeviceId, _ PatchDeviceParams) {
	var body DevicePatch
	canonical, ok := s.decode(g, &body)
	if !ok {
		return
	}
	device, err := preference.ParseDeviceID(id)
	if err != nil {
		s.fail(g, err)
		return
	}
	change, err := preference.SwitchDevice(device, body.Enabled, switches[preference.ChannelKey](body.Channels))
	s.change(g, canonical, change, err, func(v ports.PreferenceView) any { return presentPush(v) })
}

// DeleteDevice signs a device out.
func (s *server) DeleteDevice(g *gin.Context, id DeviceId, _ DeleteDeviceParams) {
	device, err := preference.ParseDeviceID(id)
	s.changeBecause(g, preference.CauseSignedOut, nil, preference.ReleaseDevice(device), err, func(v ports.PreferenceView) any { return presentPush(v) })
}

// GetDeliverability answers whether we may send.
func (s *server) GetDeliverability(g *gin.Context, id CustomerId, params GetDeliverabilityParams) {
	customer, ok := s.customerInPath(g, id)
	if !ok {
		return
	}
	asked := preference.ChannelKey(textOf(params.Channel))
	if asked == emailChannel {
		asked = ""
	} else if _, known := s.catalogue.Channel(asked); asked != "" && !known {
		s.fail(g, fault.OnField("channel", "unknown_channel", "is not a channel of the catalogue"))
		return
	}
	v, err := s.operators.Deliverability(g.Request.Context(), customer, asked)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, presentDeliverability(customer, textOf(params.Channel), v))
}

// emailChannel asks for marketing e-mail where a push channel could be named.
const emailChannel = "email"

func presentDeliverability(customer preference.CustomerID, asked string, v ports.DeliverabilityView) DeliverabilityAnswer {
	out := DeliverabilityAnswer{Customer: string(customer), Channel: textOrNull(asked), Channels: []ChannelDeliverability{}}
	if asked == "" || asked == emailChannel {
		out.Email = presentEmailDeliverability(v)
	}
	for _, d := range v.Channels {
		if asked != emailChannel {
			out.Channels = append(out.Channels, ChannelDeliverability{Channel: string(d.Channel), Deliverable: d.Deliverable,
				BlockedBy: texts(d.BlockedBy), Until: timeOrNull(d.Until), Devices: presentEffects(d.Devices)})
		}
	}
	switch {
	case asked == emailChannel:
		out.Deliverable, out.BlockedBy = &out.Email.Deliverable, &out.Email.BlockedBy
	case asked != "" && len(out.Channels) == 1:
		out.Deliverable, out.BlockedBy, out.Until = &out.Channels[0].Deliverable, &out.Channels[0].BlockedBy, out.Channels[0].Until
	}
	return out
}

func presentEmailDeliverability(v ports.DeliverabilityView) *EmailDeliverability {
	out := &EmailDeliverability{Deliverable: len(v.Email) == 0, BlockedBy: texts(v.Email)}
	if len(v.EmailTopics) > 0 {
		topics := map[string]TopicDeliverability{}
		for _, t := range v.EmailTopics {
			topics[string(t.Topic)] = TopicDeliverability{Deliverable: len(t.BlockedBy) == 0, BlockedBy: texts(t.BlockedBy)}
		}
		out.Topics = &topics
	}
	return out
}

// customerInPath reads a customer's id from the path; on failure it has answered already.
func (s *server) customerInPath(g *gin.Context, id string) (preference.CustomerID, bool) {
	customer, err := preference.ParseCustomerID(id)
	if f, is := fault.As(err); is {
		err = fault.OnField("id", f.Fields[0].Code, "%s", f.Fields[0].Message)
	}
	if err != nil {
		s.fail(g, err)
		return "", false
	}
	return customer, true
}

func switches[K ~string](in *map[string]Switch) map[K]bool {
	if in == nil {
		return nil
	}
	out := make(map[K]bool, len(*in))
	for key, s := range *in {
		out[K(key)] = s.Enabled
	}
	return out
}

func (w *Wording) domain() *preference.Wording {
	if w == nil {
		return nil
	}
	return &preference.Wording{ID: w.Id, Locale: w.Locale, TextHash: textOf(w.TextSha256)}
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
