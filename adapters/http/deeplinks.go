package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"accord/domain/inbox"
)

// ListDeeplinkTargets answers with the catalogue.
func (s *server) ListDeeplinkTargets(g *gin.Context) {
	targets, err := s.linkTargets.Targets(g.Request.Context())
	if err != nil {
		s.fail(g, err)
		return
	}
	out := DeeplinkTargetList{Targets: make([]DeeplinkTarget, len(targets))}
	for i, t := range targets {
		out.Targets[i] = presentTarget(t)
	}
	answerJSON(g, http.StatusOK, out)
}

// GetDeeplinkTarget answers with one target.
func (s *server) GetDeeplinkTarget(g *gin.Context, key TargetKey) {
	if t, ok := s.targetKey(g, key); ok {
		target, err := s.linkTargets.Target(g.Request.Context(), t)
		if err != nil {
			s.fail(g, err)
			return
		}
		answerJSON(g, http.StatusOK, presentTarget(target))
	}
}

// PutDeeplinkTarget makes or replaces a target.
func (s *server) PutDeeplinkTarget(g *gin.Context, key TargetKey) {
	var body DeeplinkTargetPut
	if _, ok := s.decode(g, &body); !ok {
		return
	}
	target, err := readTarget(key, body)
	if err != nil {
		s.fail(g, err)
		return
	}
	stored, created, err := s.linkTargets.PutTarget(g.Request.Context(), target)
	if err != nil {
		s.fail(g, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	answerJSON(g, status, presentTarget(stored))
}

func readTarget(name string, body DeeplinkTargetPut) (inbox.LinkTarget, error) {
	key, err := inbox.ParseTargetKey(name)
	if err != nil {
		return inbox.LinkTarget{}, err
	}
	pattern, err := inbox.ParsePattern(body.Pattern)
	if err != nil {
		return inbox.LinkTarget{}, err
	}
	from, err := parseTimeOrNull("active_from", body.ActiveFrom)
	if err != nil {
		return inbox.LinkTarget{}, err
	}
	until, err := parseTimeOrNull("active_until", body.ActiveUntil)
	if err != nil {
		return inbox.LinkTarget{}, err
	}
	return inbox.NewLinkTarget(key, pattern, body.Active == nil || *body.Active, from, until)
}

// DeleteDeeplinkTarget removes a target.
func (s *server) DeleteDeeplinkTarget(g *gin.Context, key TargetKey) {
	if t, ok := s.targetKey(g, key); ok {
		if err := s.linkTargets.DeleteTarget(g.Request.Context(), t); err != nil {
			s.fail(g, err)
			return
		}
		g.Status(http.StatusNoContent)
	}
}

// targetKey reads the key in the path; on failure it has answered already.
func (s *server) targetKey(g *gin.Context, key string) (inbox.TargetKey, bool) {
	t, err := inbox.ParseTargetKey(key)
	if err != nil {
		s.fail(g, err)
		return "", false
	}
	return t, true
}

func presentTarget(t inbox.LinkTarget) DeeplinkTarget {
	return DeeplinkTarget{Key: string(t.Key), Pattern: t.Pattern.String(), Active: t.Active, ActiveFrom: timeOrNull(t.From),
		ActiveUntil: timeOrNull(t.Until), UpdatedAt: t.UpdatedAt.UTC()}
}
