/* adapter_config.json of a stranger's folder: what is accepted has numbers that can be computed with. */
#include "model/lora.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const modules[] = {"bert.encoder.layer.0.attention.self.query", "conv1", "",
                                          "vit.encoder.layer.1.attention.attention.value"};
    static const char *const others[] = {"bert.encoder.layer.0.attention.self.query", "conv1", "",
                                         "vit.layers.1.attention.v_proj"};
    graft_arena *arena = graft_arena_new(NULL);
    json_t *json = NULL;
    graft_adapter_config config;
    int rc = arena ? graft_json_parse(&json, arena, (const char *)data, size, "fuzz", NULL) : GRAFT_ENOMEM;
    if (rc == 0) rc = graft_adapter_config_read(&config, json, "fuzz", NULL);
    for (size_t i = 0; rc == 0 && i < GRAFT_COUNT(modules); i++) {
        double alpha = NAN;
        if (graft_adapter_alpha(&alpha, &config, modules[i], others[i], "fuzz", NULL) < 0) continue;
        if (!isfinite(graft_lora_scale(&config.lora, config.lora.r, alpha))) __builtin_trap();
    }
    graft_arena_free(arena);
    return 0;
}
