/* Entities in sequences of tags, right ones counted by type. A tag is a letter and a type, "B-PER"; one
 * walker goes along the true tags and one along the predicted, and what both close at the same word with the
 * same beginning and type is a hit. */
#include "learn/metric_tasks.h"

#include <stdlib.h>
#include <string.h>

typedef struct tag {
    char letter;
    int32_t type;
} tag;

/* Tags of all labels, and the names of their types. */
typedef struct tag_set {
    tag *tags; /* [n_labels] */
    const char **types;
    size_t n_labels, n_types;
    tag outside;
} tag_set;

/* What stands before the word that a walker looks at, and where the last entity began. */
typedef struct walker {
    tag before;
    int64_t begin;
} walker;

/* An entity that has ended; type -1: none. */
typedef struct entity {
    int32_t type;
    int64_t begin;
} entity;

/* The letter is the first character, the type what follows the first dash or else the letter; without any it
 * is
 * "_". A character of several bytes is no letter of a scheme. */
static const char *type_of(const char *label) {
    size_t letter = label[0] != '\0';
    while (((unsigned char)label[letter] & 0xC0u) == 0x80u) letter++;
    const char *rest = label + letter, *dash = strchr(rest, '-');
    rest = dash ? dash + 1 : rest;
    return *rest ? rest : "_";
}

static int add_type(tag_set *s, graft_map *index, const char *type, int32_t *out) {
    int64_t at = graft_map_get_str(index, type);
    if (at < 0) {
        at = (int64_t)s->n_types;
        if (graft_map_put_str(index, type, at) < 0) return -1;
        s->types[s->n_types++] = type;
    }
    *out = (int32_t)at;
    return 0;
}

static int make_tags(tag_set *s, graft_arena *arena, const char *const *labels, size_t n, graft_err *err) {
    *s = (tag_set){.n_labels = n, .outside = {.letter = 'O'}};
    graft_map *index = graft_map_new(arena);
    s->tags = graft_arena_array(arena, n + 1, sizeof *s->tags);
    s->types = graft_arena_array(arena, n + 1, sizeof *s->types);
    if (!index || !s->tags || !s->types || add_type(s, index, "_", &s->outside.type) < 0)
        return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        s->tags[i].letter = labels[i][0];
        if (add_type(s, index, type_of(labels[i]), &s->tags[i].type) < 0) return graft_err_nomem(err);
    }
    return 0;
}

static bool is_one_of(char letter, const char *letters) {
    return letter != '\0' && strchr(letters, letter) != NULL;
}

/* No letter of any scheme stands between entities but these. */
static bool is_between(char letter) {
    return letter == 'O' || letter == '.';
}

static bool ends(tag before, tag now) {
    if (is_one_of(before.letter, "ES")) return true;
    if (is_one_of(before.letter, "BI") && is_one_of(now.letter, "BSO")) return true;
    return !is_between(before.letter) && before.type != now.type;
}

static bool begins(tag before, tag now) {
    if (is_one_of(now.letter, "BS")) return true;
    if (is_one_of(before.letter, "ESO") && is_one_of(now.letter, "EI")) return true;
    return !is_between(now.letter) && before.type != now.type;
}

/* Takes the tag at word i; the entity that ended before it. */
static entity step(walker *w, tag now, int64_t i) {
    entity found = {.type = -1};
    if (ends(w->before, now)) found = (entity){.type = w->before.type, .begin = w->begin};
    if (begins(w->before, now)) w->begin = i;
    w->before = now;
    return found;
}

static void count(graft_entity_type *types, entity truth, entity predicted) {
    if (truth.type >= 0) types[truth.type].support++;
    if (predicted.type >= 0) types[predicted.type].n_predicted++;
    if (truth.type >= 0 && truth.type == predicted.type && truth.begin == predicted.begin)
        types[truth.type].n_hits++;
}

static int find_tag(tag *out, const tag_set *s, int32_t id, int64_t text, graft_err *err) {
    if (id < 0 || (size_t)id >= s->n_labels)
        return graft_err_set(err, GRAFT_EDATA, "text %lld has tag %d, the model has %zu labels",
                             (long long)text, id, s->n_labels);
    *out = s->tags[id];
    return 0;
}

static int count_all(graft_entity_metrics *m, graft_entity_type *types, const tag_set *s,
                     const int32_t *truth, const int32_t *predicted, const int64_t *lengths, graft_err *err) {
    walker a = {.before = s->outside}, b = {.before = s->outside};
    int64_t at = 0, n_right = 0;
    for (int64_t text = 0; text < m->n_texts; text++) {
        for (int64_t stop = at + lengths[text]; at < stop; at++) {
            tag t, p;
            if (truth[at] < 0) continue;
            int rc = find_tag(&t, s, truth[at], text, err);
            if (rc == 0) rc = find_tag(&p, s, predicted[at], text, err);
            if (rc < 0) return rc;
            entity ended = step(&a, t, at);
            count(types, ended, step(&b, p, at));
            n_right += truth[at] == predicted[at];
            m->n++;
        }
        /* a text ends as if a word outside followed */
        entity ended = step(&a, s->outside, at);
        count(types, ended, step(&b, s->outside, at));
    }
    if (m->n == 0) return graft_err_set(err, GRAFT_EDATA, "no tagged word to measure");
    m->accuracy = (double)n_right / (double)m->n;
    return 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const graft_entity_type *)a)->name, ((const graft_entity_type *)b)->name);
}

/* Keeps the types that occur, and takes the means. */
static void summarise(graft_entity_metrics *m, size_t n_types) {
    int64_t hits = 0, predicted = 0, support = 0;
    for (size_t i = 0; i < n_types; i++) {
        graft_entity_type t = m->types[i];
        if (t.support + t.n_predicted == 0) continue;
        t.score = graft_prf_of(t.n_hits, t.n_predicted, t.support);
        hits += t.n_hits;
        predicted += t.n_predicted;
        support += t.support;
        m->types[m->n_types++] = t;
    }
    m->micro = graft_prf_of(hits, predicted, support);
    for (size_t i = 0; i < m->n_types; i++) {
        graft_prf_add(&m->macro, &m->types[i].score, 1.0 / (double)m->n_types);
        if (support)
            graft_prf_add(&m->weighted, &m->types[i].score, (double)m->types[i].support / (double)support);
    }
    if (m->n_types) qsort(m->types, m->n_types, sizeof *m->types, by_name);
}

int graft_entity_metrics_compute(graft_entity_metrics *out, graft_arena *arena, const int32_t *truth,
                                 const int32_t *predicted, const int64_t *lengths, int64_t n_texts,
                                 const char *const *labels, size_t n_labels, graft_err *err) {
    graft_entity_metrics m = {.n_texts = n_texts};
    tag_set s;
    int rc = make_tags(&s, arena, labels, n_labels, err);
    if (rc < 0) return rc;
    m.types = graft_arena_array(arena, s.n_types, sizeof *m.types);
    if (!m.types) return graft_err_nomem(err);
    for (size_t i = 0; i < s.n_types; i++)
        if (!(m.types[i].name = graft_arena_strdup(arena, s.types[i]))) return graft_err_nomem(err);
    if ((rc = count_all(&m, m.types, &s, truth, predicted, lengths, err)) < 0) return rc;
    summarise(&m, s.n_types);
    *out = m;
    return 0;
}

json_t *graft_entity_metrics_json(const graft_entity_metrics *m) {
    json_t *types = json_object();
    bool ok = types != NULL;
    for (size_t i = 0; ok && i < m->n_types; i++)
        ok = json_object_set_new(types, m->types[i].name,
                                 graft_prf_json(&m->types[i].score, m->types[i].support)) == 0;
    json_t *o = json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:o*,s:o*}", "n", (json_int_t)m->n, "texts",
                          (json_int_t)m->n_texts, "accuracy", m->accuracy, "precision", m->micro.precision,
                          "recall", m->micro.recall, "f1", m->micro.f1, "macro",
                          graft_prf_json(&m->macro, -1), "weighted", graft_prf_json(&m->weighted, -1));
    ok = ok && o && json_object_get(o, "macro") && json_object_get(o, "weighted") &&
         json_object_set(o, "types", types) == 0;
    json_decref(types);
    if (ok) return o;
    json_decref(o);
    return NULL;
}
