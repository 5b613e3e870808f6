/* README.md of a saved folder: front matter that the hub reads, then what a person wants to know. */
#include "model/model_impl.h"
#include <stdlib.h>
#include <string.h>

enum { CARD_LABELS = 40, CARD_SOURCE_SIZE = 4 << 20 };

/* A quoted scalar: YAML takes JSON's strings. */
static void quoted(graft_buf *out, const char *s) {
    json_t *value = json_string(s);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    graft_buf_text(out, text ? text : "\"\"");
    free(text);
    json_decref(value);
}

/* "owner/name" or "name" as the hub has them, and not a path here. */
static bool is_hub_name(const char *s) {
    size_t slashes = 0;
    if (!*s || *s == '.' || *s == '/' || graft_path_is_dir(s) || graft_path_is_file(s)) return false;
    for (; *s; s++) {
        bool word = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        if (*s == '/')
            slashes++;
        else if (!word && !strchr("._-", *s))
            return false;
    }
    return slashes <= 1 && s[-1] != '/';
}

/* The license lines of the source's own card, copied as they are; a card that cannot be read names none. */
static void copy_license(graft_buf *out, const graft_model *m) {
    graft_arena *scratch = graft_arena_new(NULL);
    const char *path = scratch && m->modules ? graft_path_join(scratch, m->modules, "README.md") : NULL;
    char *text = NULL;
    size_t size = 0;
    bool read = path && graft_path_is_file(path) &&
                graft_file_read(&text, &size, scratch, path, CARD_SOURCE_SIZE, NULL) == 0 &&
                !strncmp(text, "---\n", 4);
    for (char *line = read ? text + 4 : NULL, *next; line && strncmp(line, "---", 3) != 0; line = next) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end) *end = '\0';
        bool wanted = !strncmp(line, "license: ", 9) || !strncmp(line, "license_name: ", 14) ||
                      !strncmp(line, "license_link: ", 14);
        if (wanted && strlen(line) < 300) graft_buf_printf(out, "%s\n", line);
    }
    graft_arena_free(scratch);
}

/* What the hub calls it. */
static const char *pipeline_tag(const graft_model *m) {
    if (m->family->modality == GRAFT_PICTURES) return "image-classification";
    return m->task == GRAFT_TASK_TAGGING ? "token-classification" : "text-classification";
}

static void front_metrics(graft_buf *out, const graft_model *m, const graft_save_info *info,
                          const char *name) {
    bool pictures = m->family->modality == GRAFT_PICTURES;
    const char *key;
    json_t *value;
    graft_buf_text(out, "metrics:\n");
    json_object_foreach((json_t *)info->metrics, key, value) if (json_is_number(value)) {
        graft_buf_text(out, "- ");
        quoted(out, key);
        graft_buf_text(out, "\n");
    }
    graft_buf_text(out, "model-index:\n- name: ");
    quoted(out, name);
    graft_buf_printf(out,
                     "\n  results:\n  - task:\n      type: %s\n    dataset:\n      type: %s\n      name: ",
                     pipeline_tag(m), pictures ? "imagefolder" : "text");
    quoted(out, info->dataset ? info->dataset : pictures ? "own pictures" : "own texts");
    graft_buf_text(out, "\n    metrics:\n");
    json_object_foreach((json_t *)info->metrics, key, value) if (json_is_number(value)) {
        graft_buf_text(out, "    - type: ");
        quoted(out, key);
        graft_buf_printf(out, "\n      value: %.6f\n", json_number_value(value));
    }
}

static bool has_metrics(const graft_save_info *info) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)info->metrics, key, value) if (json_is_number(value)) return true;
    return false;
}

static void front_matter(graft_buf *out, const graft_model *m, const graft_save_info *info,
                         const char *name) {
    graft_buf_text(out, "---\n");
    if (info->license) {
        graft_buf_text(out, "license: ");
        quoted(out, info->license);
        graft_buf_text(out, "\n");
    } else {
        copy_license(out, m);
    }
    const char *library = m->n_adapted ? "peft" : m->family->library;
    graft_buf_printf(out, "library_name: %s\npipeline_tag: %s\ntags:\n- %s\n- graft\n",
                     m->text.sentence ? "sentence-transformers" : library, pipeline_tag(m), pipeline_tag(m));
    if (info->base_model && is_hub_name(info->base_model)) {
        graft_buf_text(out, "base_model: ");
        quoted(out, info->base_model);
        graft_buf_printf(out, "\nbase_model_relation: %s\n", m->n_adapted ? "adapter" : "finetune");
    }
    if (has_metrics(info)) front_metrics(out, m, info, name);
    graft_buf_text(out, "---\n\n");
}

/* Text from elsewhere between backticks, on one line. */
static void code(graft_buf *out, const char *s) {
    graft_buf_text(out, "`");
    for (; *s; s++) {
        char c = (unsigned char)*s < ' ' || *s == '`' ? '?' : *s;
        graft_buf_append(out, &c, 1);
    }
    graft_buf_text(out, "`");
}

static void about(graft_buf *out, const graft_model *m, const graft_save_info *info) {
    char text[512];
    graft_buf_printf(out, "%s. Written by graft %s", m->description, graft_version());
    if (info->base_model) {
        graft_buf_text(out, ", from ");
        code(out, info->base_model);
    }
    if (info->dataset) {
        graft_buf_text(out, ", adapted to ");
        code(out, info->dataset);
    }
    if (m->family->modality == GRAFT_PICTURES)
        graft_buf_printf(out, ".\n\nPictures: %s",
                         graft_preprocess_explain(&m->preprocess, text, sizeof text));
    else if (m->task == GRAFT_TASK_TAGGING)
        graft_buf_printf(out, ".\n\nTexts of at most %lld tokens, each answered for",
                         (long long)m->text.max_length);
    else
        graft_buf_printf(
            out, ".\n\nTexts of at most %lld tokens, spoken for by %s%s%s", (long long)m->text.max_length,
            m->text.pooling == GRAFT_SPAN_FIRST || m->text.pooling == GRAFT_SPAN_LAST ? "the token that is "
                                                                                      : "their ",
            graft_pooling_name(m->text.pooling), m->text.unit ? ", at length 1" : "");
    if (m->family->modality == GRAFT_TEXTS && m->text.stride > 0)
        graft_buf_printf(out, "; longer ones in windows that share %lld", (long long)m->text.stride);
    if (!m->labels_known) {
        graft_buf_text(out, ".\n\n");
        return;
    }
    graft_buf_printf(out, ".\n\n%zu classes:", m->n_labels);
    for (size_t i = 0; i < m->n_labels && i < CARD_LABELS; i++) {
        graft_buf_text(out, i ? ", " : " ");
        code(out, m->labels[i]);
    }
    if (m->n_labels > CARD_LABELS)
        graft_buf_printf(out, " and %zu more (`config.json`)", m->n_labels - CARD_LABELS);
    graft_buf_text(out, ".\n\n");
}

static void results(graft_buf *out, const graft_save_info *info) {
    const char *key;
    json_t *value;
    if (!has_metrics(info)) return;
    graft_buf_text(out, "## Results\n\n| metric | value |\n|---|---|\n");
    json_object_foreach((json_t *)info->metrics, key, value) if (json_is_number(value)) {
        graft_buf_text(out, "| ");
        code(out, key);
        graft_buf_printf(out, " | %.4f |\n", json_number_value(value));
    }
    graft_buf_text(out, "\n");
}

static void usage_text(graft_buf *out, const graft_model *m) {
    graft_buf_text(out,
                   "## Use\n\n    graft predict THIS_FOLDER texts.txt\n    graft verify THIS_FOLDER\n\n");
    if (!strcmp(m->family->library, "graft"))
        graft_buf_text(out, "Only graft opens this folder; its tensors are named as PyTorch names them.\n");
    else if (m->text.sentence)
        graft_buf_text(out, "    from sentence_transformers import SentenceTransformer\n"
                            "    SentenceTransformer(\"THIS_FOLDER\").encode([\"a text\"])  # the logits\n");
    else
        graft_buf_printf(
            out, "    from transformers import pipeline\n    pipeline(\"%s\", \"THIS_FOLDER\")(\"a text\")\n",
            pipeline_tag(m));
}

/* An adapter's folder is half a model. */
static void usage_adapter(graft_buf *out, const graft_model *m) {
    graft_buf_printf(out,
                     "## Use\n\n    graft predict THIS_FOLDER INPUT\n    graft merge THIS_FOLDER -o WHOLE\n\n"
                     "Adapters of rank %lld (LoRA) beside %zu layers of the base model ",
                     (long long)m->lora.r, m->n_adapted);
    code(out, graft_path_name(m->base));
    graft_buf_printf(out,
                     ", %s. In peft:\n\n    from peft import PeftModel\n    PeftModel.from_pretrained(BASE, "
                     "\"THIS_FOLDER\")\n\n`BASE` is the base model, opened with a head of %zu classes.\n",
                     m->text.sentence ? "which SentenceTransformer(\"THIS_FOLDER\") finds by itself"
                                      : "with the head",
                     m->n_labels);
}

static void usage(graft_buf *out, const graft_model *m) {
    if (m->n_adapted) {
        usage_adapter(out, m);
        return;
    }
    if (m->family->modality == GRAFT_TEXTS) {
        usage_text(out, m);
        return;
    }
    graft_buf_text(out,
                   "## Use\n\n    graft predict THIS_FOLDER picture.jpg\n    graft verify THIS_FOLDER\n\n");
    if (m->family->usage)
        m->family->usage(out, m, &m->hyper);
    else if (!strcmp(m->family->library, "transformers"))
        graft_buf_text(out, "    from transformers import pipeline\n"
                            "    pipeline(\"image-classification\", \"THIS_FOLDER\")(\"picture.jpg\")\n");
    else if (!strcmp(m->family->library, "timm"))
        graft_buf_text(
            out, "    import timm\n    timm.create_model(\"local-dir:THIS_FOLDER\", pretrained=True)\n");
    else
        graft_buf_text(
            out, "Only graft opens this folder: neither Transformers nor timm has this architecture.\n");
}

int graft_model_card(graft_buf *out, const graft_model *m, const graft_save_info *info, const char *dir,
                     graft_err *err) {
    const char *name = info->name;
    graft_arena *scratch = graft_arena_new(NULL);
    if (!scratch) return graft_err_nomem(err);
    if (!name) {
        size_t n = strlen(dir);
        while (n > 1 && dir[n - 1] == '/') n--;
        const char *trimmed = graft_arena_strndup(scratch, dir, n);
        name = trimmed ? graft_path_name(trimmed) : "";
    }
    front_matter(out, m, info, name);
    graft_buf_text(out, "# ");
    for (const char *s = name; *s; s++) {
        char c = (unsigned char)*s < ' ' ? ' ' : *s;
        graft_buf_append(out, &c, 1);
    }
    graft_buf_text(out, "\n\n");
    about(out, m, info);
    results(out, info);
    if (info->notes) graft_buf_printf(out, "%s\n\n", info->notes);
    usage(out, m);
    graft_arena_free(scratch);
    return out->failed ? graft_err_nomem(err) : 0;
}
