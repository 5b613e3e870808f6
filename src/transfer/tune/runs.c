/* Trials in SQLite: several processes may read while one writes, and a kill loses the trial under way only.
 */
#include "transfer/tune/runs.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct graft_runs {
    sqlite3 *db;
    char *path;
};

enum { APPLICATION_ID = 0x47524654 }; /* "GRFT", told by the file's header */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS runs ("
    " study TEXT NOT NULL, number INTEGER NOT NULL, rung INTEGER NOT NULL,"
    " model TEXT, data TEXT, settings TEXT, plan TEXT, state TEXT, score_name TEXT,"
    " message TEXT, epochs INTEGER, memory INTEGER, score REAL, loss REAL, seconds REAL,"
    " time TEXT DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (study, number, rung));"
    "PRAGMA application_id = 1196574292;";
_Static_assert(APPLICATION_ID == 1196574292, "the schema names the same number");

#define COLUMNS                                                                                              \
    "study, number, rung, model, data, settings, plan, state, score_name, message, epochs, memory, score, "  \
    "loss, seconds"

static int fault(const graft_runs *r, graft_err *err) {
    int code = sqlite3_errcode(r->db);
    if (code == SQLITE_NOMEM) return graft_err_nomem(err);
    bool not_ours = code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR;
    return graft_err_set(err, not_ours ? GRAFT_EFORMAT : GRAFT_EIO, "%s: %s%s", r->path,
                         sqlite3_errmsg(r->db),
                         not_ours ? ": it holds no runs of graft, name another file" : "");
}

/* A database of somebody else is not written into. */
static int check_owner(graft_runs *r, graft_err *err) {
    sqlite3_stmt *s = NULL;
    int64_t id = -1, n_tables = -1;
    if (sqlite3_prepare_v2(r->db,
                           "SELECT application_id, (SELECT count(*) FROM sqlite_master) "
                           "FROM pragma_application_id",
                           -1, &s, NULL) != SQLITE_OK)
        return fault(r, err);
    int step = sqlite3_step(s);
    if (step == SQLITE_ROW) {
        id = sqlite3_column_int64(s, 0);
        n_tables = sqlite3_column_int64(s, 1);
    }
    sqlite3_finalize(s);
    if (step != SQLITE_ROW) return fault(r, err);
    if (id == APPLICATION_ID || n_tables == 0) return 0;
    return graft_err_set(err, GRAFT_EFORMAT,
                         "%s is a database, but holds no runs of graft: name another file", r->path);
}

int graft_runs_open(graft_runs **out, const char *path, bool read_only, graft_err *err) {
    *out = NULL;
    graft_runs *r = calloc(1, sizeof *r);
    if (!r || !(r->path = strdup(path))) {
        free(r);
        return graft_err_nomem(err);
    }
    int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(path, &r->db, flags, NULL) == SQLITE_OK ? 0
             : r->db                                                 ? fault(r, err)
                                                                     : graft_err_nomem(err);
    if (rc == 0) sqlite3_busy_timeout(r->db, 10000);
    if (rc == 0) rc = check_owner(r, err);
    if (rc == 0 && !read_only && sqlite3_exec(r->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        rc = fault(r, err);
    if (rc < 0)
        graft_runs_close(r);
    else
        *out = r;
    return rc;
}

void graft_runs_close(graft_runs *r) {
    if (!r) return;
    sqlite3_close(r->db);
    free(r->path);
    free(r);
}

int graft_runs_put(graft_runs *r, const graft_run_row *row, graft_err *err) {
    static const char sql[] =
        "INSERT OR REPLACE INTO runs (" COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    const char *texts[] = {row->model, row->data,       row->settings, row->plan,
                           row->state, row->score_name, row->message};
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK) return fault(r, err);
    sqlite3_bind_text(s, 1, row->study, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, row->number);
    sqlite3_bind_int64(s, 3, row->rung);
    for (int i = 0; i < (int)GRAFT_COUNT(texts); i++)
        sqlite3_bind_text(s, 4 + i, texts[i], -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 11, row->epochs);
    sqlite3_bind_int64(s, 12, row->memory);
    sqlite3_bind_double(s, 13, row->score);
    sqlite3_bind_double(s, 14, row->loss);
    sqlite3_bind_double(s, 15, row->seconds);
    int rc = sqlite3_step(s) == SQLITE_DONE ? 0 : fault(r, err);
    sqlite3_finalize(s);
    return rc;
}

/* A column's text in the arena; NULL stays NULL. */
static const char *keep(graft_arena *arena, sqlite3_stmt *s, int column, bool *ok) {
    const char *text = (const char *)sqlite3_column_text(s, column);
    char *own = text ? graft_arena_strdup(arena, text) : NULL;
    if (text && !own) *ok = false;
    return own;
}

/* SQLite keeps a number that is none as NULL. */
static double real_of(sqlite3_stmt *s, int column) {
    return sqlite3_column_type(s, column) == SQLITE_NULL ? NAN : sqlite3_column_double(s, column);
}

static bool read_row(graft_run_row *out, graft_arena *arena, sqlite3_stmt *s) {
    bool ok = true;
    *out = (graft_run_row){.study = keep(arena, s, 0, &ok),
                           .number = sqlite3_column_int64(s, 1),
                           .rung = sqlite3_column_int64(s, 2),
                           .model = keep(arena, s, 3, &ok),
                           .data = keep(arena, s, 4, &ok),
                           .settings = keep(arena, s, 5, &ok),
                           .plan = keep(arena, s, 6, &ok),
                           .state = keep(arena, s, 7, &ok),
                           .score_name = keep(arena, s, 8, &ok),
                           .message = keep(arena, s, 9, &ok),
                           .epochs = sqlite3_column_int64(s, 10),
                           .memory = sqlite3_column_int64(s, 11),
                           .score = real_of(s, 12),
                           .loss = real_of(s, 13),
                           .seconds = sqlite3_column_double(s, 14)};
    return ok;
}

int graft_runs_get(graft_run_row *out, graft_arena *arena, graft_runs *r, const char *study, int64_t number,
                   int64_t rung, graft_err *err) {
    static const char sql[] = "SELECT " COLUMNS " FROM runs WHERE study = ? AND number = ? AND rung = ?";
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK) return fault(r, err);
    sqlite3_bind_text(s, 1, study, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, number);
    sqlite3_bind_int64(s, 3, rung);
    int step = sqlite3_step(s), rc = step == SQLITE_ROW;
    if (step != SQLITE_ROW && step != SQLITE_DONE) rc = fault(r, err);
    if (rc == 1 && !read_row(out, arena, s)) rc = graft_err_nomem(err);
    sqlite3_finalize(s);
    return rc;
}

static json_t *text_json(const char *text) {
    return text ? graft_json_string(text) : json_null();
}

static json_t *row_json(const graft_run_row *row) {
    json_t *settings = row->settings ? json_loads(row->settings, 0, NULL) : NULL;
    return json_pack("{s:o,s:I,s:I,s:o,s:o,s:o?,s:o,s:o,s:o,s:o,s:I,s:I,s:o,s:o,s:f}", "study",
                     text_json(row->study), "number", (json_int_t)row->number, "rung", (json_int_t)row->rung,
                     "model", text_json(row->model), "data", text_json(row->data), "settings", settings,
                     "plan", text_json(row->plan), "state", text_json(row->state), "score_name",
                     text_json(row->score_name), "message", text_json(row->message), "epochs",
                     (json_int_t)row->epochs, "memory", (json_int_t)row->memory, "score",
                     isfinite(row->score) ? json_real(row->score) : json_null(), "loss",
                     isfinite(row->loss) ? json_real(row->loss) : json_null(), "seconds", row->seconds);
}

int graft_runs_list(json_t **out, graft_runs *r, graft_err *err) {
    static const char sql[] =
        "SELECT " COLUMNS " FROM runs ORDER BY study, state, rung DESC, score DESC, loss";
    sqlite3_stmt *s = NULL;
    graft_arena *arena = graft_arena_new(NULL);
    json_t *list = json_array();
    int step = SQLITE_DONE;
    int rc = arena && list ? 0 : graft_err_nomem(err);
    if (rc == 0 && sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) != SQLITE_OK) rc = fault(r, err);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        graft_run_row row;
        if (!read_row(&row, arena, s) || json_array_append_new(list, row_json(&row)) < 0)
            rc = graft_err_nomem(err);
    }
    if (rc == 0 && step != SQLITE_DONE) rc = fault(r, err);
    sqlite3_finalize(s);
    graft_arena_free(arena);
    if (rc < 0)
        json_decref(list);
    else
        *out = list;
    return rc;
}
