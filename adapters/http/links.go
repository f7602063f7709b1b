package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// CreateUnsubscribeLink makes a link for an e-mail about to be sent.
func (s *server) CreateUnsubscribeLink(g *gin.Context, id CustomerId) {
	customer, ok := s.customerInPath(g, id)
	if !ok {
		return
	}
	var body UnsubscribeLinkRequest
	if g.Request.ContentLength != 0 {
		if _, ok := s.decode(g, &body); !ok {
			return
		}
	}
	link, err := s.links.NewUnsubscribe(g.Request.Context(), customer, preference.TopicKey(textOf(body.Topic)))
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, UnsubscribeLink{Url: link,
		Headers: UnsubscribeHeaders{ListUnsubscribe: "<" + link + ">", ListUnsubscribePost: oneClick}})
}

// oneClick is what a mail provider sends, word for word (RFC 8058, section 3.1).
const oneClick = "List-Unsubscribe=One-Click"

// CreateConfirmationLink makes a link for the e-mail that asks for a confirmation.
func (s *server) CreateConfirmationLink(g *gin.Context, id CustomerId) {
	customer, ok := s.customerInPath(g, id)
	if !ok {
		return
	}
	link, expires, err := s.links.NewConfirmation(g.Request.Context(), customer)
	if err != nil {
		s.fail(g, err)
		return
	}
	answerJSON(g, http.StatusOK, ConfirmationLink{Url: link, ExpiresAt: expires.UTC()})
}

// GetUnsubscribePage shows the page. Whatever fetches it, and however often, changes nothing.
func (s *server) GetUnsubscribePage(g *gin.Context, token LinkToken) {
	v, err := s.links.Look(g.Request.Context(), ports.UnsubscribeLink, token)
	if err != nil {
		s.failPage(g, v, err)
		return
	}
	page := linkPage{status: http.StatusOK, title: "unsubscribe", topic: v.Topic.Title, text: []string{"ask_all", "ask_about"}, buttons: []linkButton{stopAll}}
	if v.Topic.Key != "" {
		page.text[0], page.buttons = "ask_topic", []linkButton{stopTopic, stopAll}
	}
	if v.Done {
		page.text = []string{"already"}
	}
	s.pages.show(g, page, v.Locale)
}

// The buttons say that a person pressed them: what a mail provider sends looks otherwise.
var (
	stopAll   = linkButton{pressed, "all", "stop_all"}
	stopTopic = linkButton{pressed, "topic", "stop_topic"}
)

const pressed = "pressed"

// PostUnsubscribe withdraws. It takes whatever is posted: somebody who asks in an unusual way asks all the same.
func (s *server) PostUnsubscribe(g *gin.Context, token LinkToken) {
	form := postedForm(g)
	button := form.Get(pressed)
	use := ports.LinkUse{Token: token, Everything: button == stopAll.value, OneClick: button == "", RequestID: exchangeOf(g).requestID}
	v, err := s.links.Unsubscribe(g.Request.Context(), use)
	if err != nil {
		s.failPage(g, v, err)
		return
	}
	page := linkPage{status: http.StatusOK, title: "stopped", topic: v.Topic.Title, text: []string{"stopped_all", "stopped_about"}}
	if v.Topic.Key != "" {
		page.text[0], page.buttons = "stopped_topic", []linkButton{stopAll}
	}
	s.pages.show(g, page, v.Locale)
}

// GetConfirmationPage shows the page, and changes nothing.
func (s *server) GetConfirmationPage(g *gin.Context, token LinkToken) {
	v, err := s.links.Look(g.Request.Context(), ports.ConfirmLink, token)
	switch {
	case err != nil:
		s.failPage(g, v, err)
	case v.Done:
		s.pages.show(g, confirmed(v), v.Locale)
	case v.Over != "":
		s.pages.show(g, linkPage{status: http.StatusGone, title: v.Over, text: []string{v.Over + "_about"}}, v.Locale)
	default:
		s.pages.show(g, askToConfirm(http.StatusOK), v.Locale)
	}
}

func askToConfirm(status int) linkPage {
	return linkPage{status: status, title: "confirm", text: []string{"confirm_ask", "confirm_about"},
		buttons: []linkButton{{pressed, "confirm", "confirm_button"}}}
}

// PostConfirmation subscribes. Only the page's button does: a grant must not come of anything that merely posts.
func (s *server) PostConfirmation(g *gin.Context, token LinkToken) {
	if postedForm(g).Get(pressed) != "confirm" {
		v, err := s.links.Look(g.Request.Context(), ports.ConfirmLink, token)
		if err != nil {
			s.failPage(g, v, err)
			return
		}
		s.pages.show(g, askToConfirm(http.StatusBadRequest), v.Locale)
		return
	}
	v, err := s.links.Confirm(g.Request.Context(), ports.LinkUse{Token: token, RequestID: exchangeOf(g).requestID, Wait: defaultWait})
	if err != nil {
		s.failPage(g, v, err)
		return
	}
	s.pages.show(g, confirmed(v), v.Locale)
}

// confirmed says that it counts, or that it is on its way: until it has reached every system it may be taken back.
func confirmed(v ports.LinkView) linkPage {
	if !v.Settled {
		return linkPage{status: http.StatusOK, title: "confirm", text: []string{"confirming_about"}}
	}
	return linkPage{status: http.StatusOK, title: "confirmed", text: []string{"confirmed_about"}}
}

// failPage is fail for people. All that is no good link looks the same: it tells nobody which links are.
func (s *server) failPage(g *gin.Context, v ports.LinkView, err error) {
	f, is := fault.As(err)
	switch {
	case is && f.Kind == fault.NotFound:
		s.pages.show(g, linkPage{status: http.StatusNotFound, title: "unknown", text: []string{"unknown_about"}}, "")
	case is && f.Kind == fault.Conflict && (f.Code == "expired" || f.Code == "superseded"):
		s.pages.show(g, linkPage{status: http.StatusGone, title: f.Code, text: []string{f.Code + "_about"}}, v.Locale)
	case is && f.Kind == fault.Unavailable:
		s.showLater(g, http.StatusServiceUnavailable, v.Locale)
	case errors.Is(err, context.Canceled) && g.Request.Context().Err() != nil:
		g.AbortWithStatus(statusClientGone)
	default:
		s.log.ErrorContext(g.Request.Context(), "request failed", "request_id", exchangeOf(g).requestID, "route", g.FullPath(), "error", err)
		s.showLater(g, http.StatusInternalServerError, v.Locale)
	}
}

// showLater offers the same button again, so that nothing a person has decided is lost.
func (s *server) showLater(g *gin.Context, status int, locale string) {
	page := linkPage{status: status, title: "later", text: []string{"later_about"}}
	if button := postedForm(g).Get(pressed); button != "" {
		page.buttons = []linkButton{{pressed, button, "later_button"}}
	}
	s.pages.show(g, page, locale)
}

const maxForm = 16 << 10

// postedForm reads what was posted, in either of the two forms of RFC 8058, once. What cannot be read is empty.
func postedForm(g *gin.Context) url.Values {
	r := g.Request
	if r.PostForm != nil {
		return r.PostForm
	}
	r.Body = http.MaxBytesReader(g.Writer, r.Body, maxForm)
	var err error
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		err = r.ParseMultipartForm(maxForm)
	} else {
		err = r.ParseForm()
	}
	if err != nil || r.PostForm == nil {
		r.PostForm = url.Values{}
	}
	return r.PostForm
}
