#include "model_room.h"

#include "model/init.h"

enum { MANY = 40000 };

typedef struct moments {
    double mean, std, low, high;
} moments;

static moments of(const float *x, size_t n) {
    moments m = {0, 0, INFINITY, -INFINITY};
    for (size_t i = 0; i < n; i++) {
        m.mean += (double)x[i] / (double)n;
        m.low = fmin(m.low, (double)x[i]);
        m.high = fmax(m.high, (double)x[i]);
    }
    for (size_t i = 0; i < n; i++) m.std += ((double)x[i] - m.mean) * ((double)x[i] - m.mean) / (double)n;
    m.std = sqrt(m.std);
    return m;
}

static void near(double a, double b, double share) {
    if (fabs(a - b) > share * fabs(b)) fail_msg("%g is not %g", a, b);
}

/* (O, I, 2, 2): fan_in 200, fan_out 800. */
static const graft_shape shape = {4, {200, 50, 2, 2}};

static void kaiming_has_pytorchs_scale(void **state) {
    (void)state;
    static float x[MANY];
    graft_rng r = graft_init_stream(1, "a");
    graft_init_kaiming_normal(x, &shape, GRAFT_FAN_OUT, &r);
    near(of(x, MANY).std, sqrt(2.0 / 800), 0.02);
    graft_init_kaiming_normal(x, &shape, GRAFT_FAN_IN, &r);
    near(of(x, MANY).std, sqrt(2.0 / 200), 0.02);
    graft_init_kaiming_uniform(x, &shape, GRAFT_FAN_IN, sqrt(5), &r);
    moments m = of(x, MANY);
    near(m.high, 1 / sqrt(200), 0.01);
    near(m.low, -1 / sqrt(200), 0.01);
    near(m.std, 1 / sqrt(200) / sqrt(3), 0.02);
}

static void xavier_has_pytorchs_scale(void **state) {
    (void)state;
    static float x[MANY];
    graft_rng r = graft_init_stream(1, "a");
    graft_init_xavier_normal(x, &shape, 1, &r);
    near(of(x, MANY).std, sqrt(2.0 / 1000), 0.02);
    graft_init_xavier_uniform(x, &shape, 2, &r);
    near(of(x, MANY).high, 2 * sqrt(6.0 / 1000), 0.01);
}

static void a_truncated_normal_stays_within(void **state) {
    (void)state;
    static float x[MANY];
    graft_rng r = graft_init_stream(1, "a");
    graft_init_truncated_normal(x, MANY, 0, 1, -2, 2, &r);
    moments m = of(x, MANY);
    assert_true(m.low >= -2 && m.high <= 2);
    near(m.std, 0.8796, 0.02);
    assert_true(fabs(m.mean) < 0.02);
    graft_init_truncated_normal(x, 100, 0, 1, 50, 51, &r);
    assert_true(of(x, 100).low >= 50 && of(x, 100).high <= 51);
}

static void a_stream_is_keyed_by_seed_and_name(void **state) {
    (void)state;
    graft_rng a = graft_init_stream(1, "a"), b = graft_init_stream(1, "a"), c = graft_init_stream(1, "b"),
              d = graft_init_stream(2, "a");
    uint32_t x = graft_rng_u32(&a);
    assert_int_equal(x, graft_rng_u32(&b));
    assert_int_not_equal(x, graft_rng_u32(&c));
    assert_int_not_equal(x, graft_rng_u32(&d));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kaiming_has_pytorchs_scale),
        cmocka_unit_test(xavier_has_pytorchs_scale),
        cmocka_unit_test(a_truncated_normal_stays_within),
        cmocka_unit_test(a_stream_is_keyed_by_seed_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
