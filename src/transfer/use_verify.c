/* graft verify: does a saved folder still answer as it did when it was saved? */
#include "transfer/use.h"

int graft_verify(char **result, graft_env *env, const char *out, graft_err *err) {
    graft_verification v;
    *result = NULL;
    int rc = graft_model_verify(&v, env, out, err);
    if (rc < 0) return rc;
    if (v.n_differ > 0 || !(v.max_difference <= 1e-4 * (1.0 + v.max_logit))) {
        return graft_err_set(
            err, GRAFT_EDATA,
            "%s does not answer as it did when it was saved: logits differ by up to %g (their "
            "largest is %g), %lld of %lld probe inputs get another answer; its files were "
            "changed, fit it again",
            out, v.max_difference, v.max_logit, (long long)v.n_differ, (long long)v.n_inputs);
    }
    return graft_print_json(result,
                            json_pack("{s:o,s:I,s:I,s:f,s:f}", "out", graft_json_string(out), "n_inputs",
                                      (json_int_t)v.n_inputs, "n_differ", (json_int_t)v.n_differ,
                                      "max_difference", v.max_difference, "max_logit", v.max_logit),
                            err);
}
