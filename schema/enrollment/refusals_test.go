package enrollment_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// wantRefusal fails unless err is exactly the refusal.
func wantRefusal(t *testing.T, err error, want enrollment.Refusal) {
	t.Helper()
	var got *enrollment.Refusal
	if !errors.As(err, &got) {
		t.Fatalf("error = %v, want a refusal: %s", err, want.Reason)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

// wantSilent fails if an error repeats what was typed.
func wantSilent(t *testing.T, err error, typed string) {
	t.Helper()
	if err != nil && len(typed) > 3 && strings.Contains(err.Error(), typed) {
		t.Errorf("the error repeats what was typed: %v", err)
	}
}
