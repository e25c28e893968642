package store_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// as runs statements as another role, and rolls them back.
func (s *scene) as(role string, run func(tx *sqlx.Tx)) {
	s.t.Helper()
	tx, err := s.Aside.Beginx()
	ok(s.t, err)
	defer tx.Rollback()
	_, err = tx.Exec(`SET LOCAL ROLE ` + role)
	ok(s.t, err)
	run(tx)
}

func TestAnAnalystSeesTheViewsAndNothingElse(t *testing.T) {
	s := stage(t)
	s.takesFacts(customers(t, 3)...)
	views := []string{"facts", "freshness", "journeys", "restatements"}
	for _, view := range views {
		s.as("billcenter_analyst", func(tx *sqlx.Tx) {
			var n int
			if err := tx.Get(&n, `SELECT count(*) FROM analytics.`+view); err != nil || (n == 0 && view != "restatements") {
				t.Errorf("%s: %d rows, %v", view, n, err)
			}
		})
	}
	var relations []string
	ok(t, s.DB.Select(&relations, `
		SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('public', 'analytics') AND c.relkind IN ('r', 'v', 'm', 'p', 'S') ORDER BY 1`))
	if len(relations) < 20 || !slices.Contains(relations, "public.accounts") {
		t.Fatalf("relations: %v", relations)
	}
	type may struct {
		Select, Insert, Update, Delete, Truncate bool
	}
	for _, relation := range relations {
		var got may
		ok(t, s.DB.Get(&got, `
			SELECT has_table_privilege($1, $2, 'SELECT') AS "select", has_table_privilege($1, $2, 'INSERT') AS "insert", has_table_privilege($1, $2, 'UPDATE') AS "update",
				has_table_privilege($1, $2, 'DELETE') AS "delete", has_table_privilege($1, $2, 'TRUNCATE') AS "truncate"`, "billcenter_analyst", relation))
		want := may{Select: slices.ContainsFunc(views, func(v string) bool { return relation == "analytics."+v })}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", relation, diff)
		}
	}
	for _, statement := range []string{
		`SELECT * FROM accounts`, `SELECT * FROM funnel_facts`, `DELETE FROM analytics.facts`, `UPDATE analytics.journeys SET tenant = ''`,
		`CREATE TABLE analytics.mine ()`, `CREATE TABLE public.mine ()`,
	} {
		s.as("billcenter_analyst", func(tx *sqlx.Tx) {
			if _, err := tx.Exec(statement); pq.As(err, pqerror.InsufficientPrivilege) == nil && pq.As(err, pqerror.ObjectNotInPrerequisiteState) == nil {
				t.Errorf("%s: %v", statement, err)
			}
		})
	}
}

// The comments are the data dictionary.
func TestEveryViewAndColumnForAnalystsIsExplained(t *testing.T) {
	s := stage(t)
	var silent []string
	ok(t, s.DB.Select(&silent, `
		SELECT c.relname || coalesce('.' || a.attname, '')
		FROM pg_class AS c LEFT JOIN LATERAL (
			SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 UNION ALL SELECT NULL, 0) AS a ON true
		WHERE c.relnamespace = 'analytics'::regnamespace AND coalesce(col_description(c.oid, a.attnum), CASE a.attnum WHEN 0 THEN obj_description(c.oid) END, '') = ''`))
	if len(silent) > 0 {
		t.Errorf("without a comment: %v", silent)
	}
	if n := s.number(`SELECT count(*) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid WHERE c.relnamespace = 'analytics'::regnamespace AND attnum > 0`); n < 30 {
		t.Errorf("%d columns", n)
	}
}
