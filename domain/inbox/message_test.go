package inbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
)

func TestADraftTakesDefaults(t *testing.T) {
	t.Parallel()
	m, err := draft().Publish(links(t), noon)
	require.NoError(t, err)
	require.Equal(t, noon, m.PublishedAt)
	require.Equal(t, noon.Add(inbox.DefaultLife), m.Expiry)
	require.Equal(t, inbox.DefaultCategory, m.Content.Category)
	require.Equal(t, []inbox.TargetKey{"orders"}, m.Targets)
	require.Equal(t, "shop/m-1", m.Campaign)
	require.True(t, m.VisibleAt(noon))
	require.Equal(t, m.Expiry, m.NextChange(noon))
	require.False(t, m.VisibleAt(m.Expiry), "the expiry itself is not included")

	one := draft()
	one.Audience, one.Recipients = inbox.Personal, customers("ada")
	m, err = one.Publish(links(t), noon)
	require.NoError(t, err)
	require.Empty(t, m.Campaign, "a message to one customer is no campaign")
}

func TestADraftIsRefusedWithFieldAndRule(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change     func(*inbox.Draft)
		path, code string
	}{
		"no source":         {func(d *inbox.Draft) { d.Source = "" }, "source", "invalid_source"},
		"no external id":    {func(d *inbox.Draft) { d.ExternalID = "" }, "external_id", "invalid_id"},
		"control character": {func(d *inbox.Draft) { d.ExternalID = "a\x00" }, "external_id", "invalid_id"},
		"long campaign":     {func(d *inbox.Draft) { d.Campaign = strings.Repeat("c", 256) }, "campaign", "invalid_id"},
		"no title":          {func(d *inbox.Draft) { d.Content.Title = "" }, "title", "invalid_text"},
		"blank title":       {func(d *inbox.Draft) { d.Content.Title = "  " }, "title", "invalid_text"},
		"long title":        {func(d *inbox.Draft) { d.Content.Title = strings.Repeat("ä", 201) }, "title", "invalid_text"},
		"long body":         {func(d *inbox.Draft) { d.Content.Body = strings.Repeat("ä", 4001) }, "body", "too_long"},
		"body with a bell":  {func(d *inbox.Draft) { d.Content.Body = "\a" }, "body", "invalid_text"},
		"image over http":   {func(d *inbox.Draft) { d.Content.ImageURL = "http://img.example/x.png" }, "image_url", "invalid_url"},
		"image with a user": {func(d *inbox.Draft) { d.Content.ImageURL = "https://a:b@img.example/x.png" }, "image_url", "invalid_url"},
		"category":          {func(d *inbox.Draft) { d.Content.Category = "Not This" }, "category", "invalid_category"},
		"locale":            {func(d *inbox.Draft) { d.Content.Locale = "deutsch!" }, "locale", "invalid_locale"},
		"variant's locale":  {func(d *inbox.Draft) { d.Content.Variants = map[string]inbox.Text{"?": {Title: "x"}} }, "variants.?", "invalid_locale"},
		"variant twice": {func(d *inbox.Draft) {
			d.Content.Variants = map[string]inbox.Text{"de": {Title: "x"}, "DE": {Title: "y"}}
		}, "variants.de", "duplicate"},
		"variant's title": {func(d *inbox.Draft) { d.Content.Variants = map[string]inbox.Text{"de": {}} }, "variants.de.title", "invalid_text"},
		"variant's action": {func(d *inbox.Draft) {
			d.Content.Variants = map[string]inbox.Text{"de": {Title: "x", Actions: map[string]string{"go": "Los"}}}
		}, "variants.de.actions.go", "unknown_action"},
		"action without id":   {func(d *inbox.Draft) { d.Content.Actions = []inbox.Action{{Title: "Go", Link: "app://orders/1"}} }, "actions.0.id", "invalid_id"},
		"action without link": {func(d *inbox.Draft) { d.Content.Actions = []inbox.Action{{ID: "go", Title: "Go"}} }, "actions.0.deeplink", "required"},
		"action twice": {func(d *inbox.Draft) {
			d.Content.Actions = []inbox.Action{{ID: "go", Title: "Go", Link: "app://orders/1"}, {ID: "go", Title: "Go", Link: "app://orders/1"}}
		}, "actions.1.id", "duplicate"},
		"no audience":          {func(d *inbox.Draft) { d.Audience = "" }, "audience.type", "unknown_audience"},
		"nobody":               {func(d *inbox.Draft) { d.Audience = inbox.Personal }, "audience.ids", "required"},
		"global with ids":      {func(d *inbox.Draft) { d.Recipients = customers("ada") }, "audience.ids", "not_allowed"},
		"expired":              {func(d *inbox.Draft) { d.Expiry = noon }, "expiry", "in_the_past"},
		"expires before start": {func(d *inbox.Draft) { d.PublishAt, d.Expiry = noon.Add(2*time.Hour), noon.Add(time.Hour) }, "expiry", "in_the_past"},
		"lives too long":       {func(d *inbox.Draft) { d.Expiry = noon.Add(367 * 24 * time.Hour) }, "expiry", "too_late"},
		"too far ahead":        {func(d *inbox.Draft) { d.PublishAt = noon.Add(367 * 24 * time.Hour) }, "publish_at", "too_late"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := draft()
			tc.change(&d)
			_, err := d.Publish(links(t), noon)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			requireField(t, err, tc.path, tc.code)
		})
	}
}

func TestADeadLinkIsRefused(t *testing.T) {
	t.Parallel()
	for link, code := range map[string]string{"app://sale": "inactive_target", "app://nowhere": "unknown_target", "app://orders/": "unknown_target",
		"app://orders/..": "unknown_target", "javascript://orders/1": "unknown_target", "app://orders/1/2": "unknown_target"} {
		d := draft()
		d.Content.Link = link
		d.Content.Actions = []inbox.Action{{ID: "go", Title: "Go", Link: link}}
		_, err := d.Publish(links(t), noon)
		require.ErrorIs(t, err, &fault.Error{Code: "deeplink-inactive"}, link)
		requireField(t, err, "deeplink", code)
		requireField(t, err, "actions.0.deeplink", code)
	}
	d := draft()
	d.Content.Link = ""
	_, err := d.Publish(links(t), noon)
	require.NoError(t, err, "a message may lead nowhere")
}

func TestOnlyWhatWasAskedEntersTheFingerprint(t *testing.T) {
	t.Parallel()
	a, b := draft(), draft()
	a.Audience, b.Audience = inbox.Personal, inbox.Personal
	a.Recipients, b.Recipients = customers("ada", "grace"), customers("grace", "ada")
	require.Equal(t, a.Fingerprint(), b.Fingerprint(), "the order of recipients says nothing")
	m1, err := a.Publish(links(t), noon)
	require.NoError(t, err)
	m2, err := a.Publish(links(t), noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, m1.Fingerprint, m2.Fingerprint, "a default that depends on the time must not make a repeat a conflict")
	b.Content.Title = "Bye"
	require.NotEqual(t, a.Fingerprint(), b.Fingerprint())
}

func TestAnEditIsCheckedLikeADraft(t *testing.T) {
	t.Parallel()
	m, err := draft().Publish(links(t), noon)
	require.NoError(t, err)
	later := noon.Add(time.Hour)
	content := m.Content
	content.Title = "New"
	edited, err := m.Edited(inbox.Edit{Content: &content}, links(t), later)
	require.NoError(t, err)
	require.Equal(t, "New", edited.Content.Title)
	require.Equal(t, m.PublishedAt, edited.PublishedAt)
	require.Equal(t, later, edited.UpdatedAt)
	require.Equal(t, "Hello", m.Content.Title, "the message itself is left alone")

	content.Link = "app://sale"
	_, err = m.Edited(inbox.Edit{Content: &content}, links(t), later)
	requireField(t, err, "deeplink", "inactive_target")
	past := noon.Add(-time.Minute)
	_, err = m.Edited(inbox.Edit{Expiry: &past}, links(t), later)
	requireField(t, err, "expiry", "in_the_past")
	m.RetractedAt = noon
	_, err = m.Edited(inbox.Edit{}, links(t), later)
	require.ErrorIs(t, err, &fault.Error{Code: "message-retracted"})
}

func TestTheTextIsInTheLanguageThatIsWantedMost(t *testing.T) {
	t.Parallel()
	c := inbox.Content{Text: inbox.Text{Title: "Hello"}, Locale: "en", Actions: []inbox.Action{{ID: "go", Title: "Go"}, {ID: "no", Title: "No"}},
		Variants: map[string]inbox.Text{"de": {Title: "Hallo", Actions: map[string]string{"go": "Los"}}, "pt-BR": {Title: "Oi"}}}
	for wanted, title := range map[string]string{"de": "Hallo", "DE-at": "Hallo", "de-x-any": "Hallo", "pt-BR": "Oi", "pt": "Hello", "fr de": "Hallo",
		"en de": "Hello", "de en": "Hallo", "fr": "Hello", "": "Hello", "en-GB de": "Hello"} {
		text, _, _ := c.In(strings.Fields(wanted))
		require.Equal(t, title, text.Title, "wanted %q", wanted)
	}
	_, actions, locale := c.In([]string{"de-CH"})
	require.Equal(t, []inbox.Action{{ID: "go", Title: "Los"}, {ID: "no", Title: "No"}}, actions)
	require.Equal(t, "de", locale)
	require.Equal(t, "Go", c.Actions[0].Title)
}

// A message that is out must stay correctable while its target is switched off; a link that is new must lead somewhere.
func TestAnEditKeepsALinkThatWasSwitchedOff(t *testing.T) {
	t.Parallel()
	m, err := draft().Publish(links(t), noon)
	require.NoError(t, err)
	orders, ok := links(t).Target("orders")
	require.True(t, ok)
	orders.Active = false
	for name, now := range map[string]*inbox.Links{"switched off": inbox.NewLinks(orders), "deleted": inbox.NewLinks()} {
		content := m.Content
		content.Title = "Corrected"
		edited, err := m.Edited(inbox.Edit{Content: &content}, now, noon)
		require.NoError(t, err, name)
		require.Equal(t, m.Targets, edited.Targets, name)
		soon := noon.Add(time.Hour)
		_, err = m.Edited(inbox.Edit{Expiry: &soon}, now, noon)
		require.NoError(t, err, name)
		content.Link = "app://orders/43"
		_, err = m.Edited(inbox.Edit{Content: &content}, now, noon)
		require.ErrorIs(t, err, &fault.Error{Code: "deeplink-inactive"}, name)
	}
}
