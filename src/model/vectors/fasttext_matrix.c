/* fastText's matrices, as they lie in the file: floats, or a product quantiser's codes (Joulin et al. 2016,
 * "FastText.zip: compressing text classification models"). */
#include "model/vectors/fasttext.h"

#include <inttypes.h>
#include <string.h>

enum { CENTROIDS = 256 };

static int bad(const graft_ft_cursor *c, const char *what, const char *how) {
    return graft_err_set(c->err, GRAFT_EFORMAT, "%s: %s before byte %zu %s", c->origin, what, c->at, how);
}

static int read_quantiser(graft_ft_quantiser *q, graft_ft_cursor *c, int64_t width, const char *what) {
    int rc = graft_ft_take_i32(c, &q->width, what);
    if (rc == 0) rc = graft_ft_take_i32(c, &q->n_pieces, what);
    if (rc == 0) rc = graft_ft_take_i32(c, &q->piece, what);
    if (rc == 0) rc = graft_ft_take_i32(c, &q->last_piece, what);
    if (rc < 0) return rc;
    bool fits = q->width == width && q->piece >= 1 && q->piece <= q->width &&
                q->n_pieces == (q->width - 1) / q->piece + 1 &&
                q->last_piece == (q->width - 1) % q->piece + 1;
    if (!fits) return bad(c, what, "has a quantiser whose pieces do not make up a row");
    q->centroids = graft_ft_take(c, (size_t)width * CENTROIDS * sizeof(float), what);
    return q->centroids ? 0 : GRAFT_EFORMAT;
}

/* Rows and width of a matrix, in bounds that keep every later product small. */
static int read_shape(graft_ft_matrix *m, graft_ft_cursor *c, const char *what) {
    int rc = graft_ft_take_i64(c, &m->rows, what);
    if (rc == 0) rc = graft_ft_take_i64(c, &m->width, what);
    if (rc < 0) return rc;
    if (m->rows < 0 || m->rows > INT32_MAX * INT64_C(2) || m->width < 1 || m->width > GRAFT_VECTORS_MAX_WIDTH)
        return bad(c, what, "has a shape that is not possible");
    return 0;
}

static int read_codes(graft_ft_matrix *m, graft_ft_cursor *c, const char *what) {
    bool norms;
    int32_t n_codes;
    int rc = graft_ft_take_bool(c, &norms, what);
    if (rc == 0) rc = read_shape(m, c, what);
    if (rc == 0) rc = graft_ft_take_i32(c, &n_codes, what);
    if (rc < 0) return rc;
    if (n_codes < 0) return bad(c, what, "has a negative count of codes");
    m->codes = graft_ft_take(c, (size_t)n_codes, what);
    if (!m->codes) return GRAFT_EFORMAT;
    rc = read_quantiser(&m->q, c, m->width, what);
    if (rc == 0 && (int64_t)n_codes != m->rows * m->q.n_pieces)
        rc = bad(c, what, "has a count of codes that is not rows times pieces");
    if (rc < 0 || !norms) return rc;
    m->norm_codes = graft_ft_take(c, (size_t)m->rows, what);
    return m->norm_codes ? read_quantiser(&m->norms, c, 1, what) : GRAFT_EFORMAT;
}

int graft_ft_matrix_read(graft_ft_matrix *m, graft_ft_cursor *c, bool quantised, const char *what) {
    *m = (graft_ft_matrix){.rows = 0};
    if (quantised) return read_codes(m, c, what);
    int rc = read_shape(m, c, what);
    if (rc < 0) return rc;
    m->values = graft_ft_take(c, (size_t)(m->rows * m->width) * sizeof(float), what);
    return m->values ? 0 : GRAFT_EFORMAT;
}

static float float_at(const unsigned char *p, size_t i) {
    float x;
    memcpy(&x, p + i * sizeof x, sizeof x);
    return x;
}

static void add_codes(const graft_ft_matrix *m, int64_t i, float *out) {
    const graft_ft_quantiser *q = &m->q;
    const unsigned char *codes = m->codes + i * q->n_pieces;
    float norm = m->norm_codes ? float_at(m->norms.centroids, m->norm_codes[i]) : 1.0F;
    for (int32_t p = 0; p < q->n_pieces; p++) {
        /* The centroids of one piece follow each other, and those of the last one are shorter. */
        int32_t size = p + 1 < q->n_pieces ? q->piece : q->last_piece;
        size_t first = (size_t)p * CENTROIDS * (size_t)q->piece + (size_t)codes[p] * (size_t)size;
        float *to = out + (size_t)p * (size_t)q->piece;
        for (int32_t j = 0; j < size; j++) to[j] += norm * float_at(q->centroids, first + (size_t)j);
    }
}

void graft_ft_matrix_add(const graft_ft_matrix *m, int64_t i, float *out) {
    if (!m->values) {
        add_codes(m, i, out);
        return;
    }
    const unsigned char *row = m->values + (size_t)i * (size_t)m->width * sizeof(float);
    for (size_t j = 0; j < (size_t)m->width; j++) out[j] += float_at(row, j);
}
