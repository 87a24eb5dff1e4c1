// Package placetest says what a place of journals and locks has to do, for whoever makes one.
package placetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Run tries a place, in a namespace of it that has neither journals nor locks.
func Run(t *testing.T, p operation.Place, namespace string) {
	t.Run("journals", func(t *testing.T) { journals(t, p, namespace) })
	t.Run("claims", func(t *testing.T) { claims(t, p, namespace) })
}

func journals(t *testing.T, p operation.Place, namespace string) {
	ctx := t.Context()
	e := operation.Entry{Namespace: namespace, ID: "20260102t030405-abcd", Text: `{"a": 1}`, Target: namespace + "/etcd", Phase: plan.Running, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	_, err := p.Journal(ctx, namespace, e.ID)
	is(t, "read one that is not there", err, operation.ErrNotThere)
	_, err = p.UpdateJournal(ctx, e)
	is(t, "update one that is not there", err, operation.ErrNotThere)
	is(t, "delete one that is not there", p.DeleteJournal(ctx, namespace, e.ID), nil)
	first, err := p.CreateJournal(ctx, e)
	is(t, "create", err, nil)
	_, err = p.CreateJournal(ctx, e)
	is(t, "create again", err, operation.ErrConflict)
	second := first
	second.Text, second.Phase = `{"a": 2}`, plan.Succeeded
	second, err = p.UpdateJournal(ctx, second)
	is(t, "update", err, nil)
	_, err = p.UpdateJournal(ctx, first)
	is(t, "update what is not there any more", err, operation.ErrConflict)
	second.Version = ""
	second, err = p.UpdateJournal(ctx, second)
	is(t, "update whatever is there", err, nil)
	found, err := p.Journal(ctx, namespace, e.ID)
	is(t, "read", err, nil)
	if found != second || found.Text != `{"a": 2}` || found.Phase != plan.Succeeded || found.Target != e.Target || !found.Created.Equal(e.Created) {
		t.Errorf("read %+v, want %+v", found, second)
	}
	for _, in := range []string{namespace, ""} {
		list, err := p.Journals(ctx, in)
		is(t, "list", err, nil)
		if !slices.Contains(list, second) {
			t.Errorf("journals of %q: %+v", in, list)
		}
	}
	is(t, "delete", p.DeleteJournal(ctx, namespace, e.ID), nil)
	_, err = p.Journal(ctx, namespace, e.ID)
	is(t, "read what was deleted", err, operation.ErrNotThere)
}

func claims(t *testing.T, p operation.Place, namespace string) {
	ctx, now := t.Context(), time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	c := operation.Claim{Namespace: namespace, Name: "kubectl-etcd-etcd", Holder: "somebody", Since: now, Renewed: now, For: 30 * time.Second}
	_, err := p.Claim(ctx, namespace, c.Name)
	is(t, "read one that is not there", err, operation.ErrNotThere)
	first, err := p.CreateClaim(ctx, c)
	is(t, "create", err, nil)
	_, err = p.CreateClaim(ctx, c)
	is(t, "create again", err, operation.ErrConflict)
	second := first
	second.Renewed = now.Add(time.Second)
	second, err = p.UpdateClaim(ctx, second)
	is(t, "renew", err, nil)
	_, err = p.UpdateClaim(ctx, first)
	is(t, "renew what is not there any more", err, operation.ErrConflict)
	is(t, "delete what is not there any more", p.DeleteClaim(ctx, first), operation.ErrConflict)
	found, err := p.Claim(ctx, namespace, c.Name)
	is(t, "read", err, nil)
	if found.Holder != c.Holder || !found.Since.Equal(c.Since) || !found.Renewed.Equal(second.Renewed) || found.For != c.For || found.Version != second.Version {
		t.Errorf("read %+v, want %+v", found, second)
	}
	is(t, "delete", p.DeleteClaim(ctx, found), nil)
	is(t, "delete again", p.DeleteClaim(ctx, found), nil)
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}
