#include "fed/hetero_secureboost/model.h"
#include "base/arena.h"
#include "base/num.h"
#include "model/boosting-tree-model-meta.pb-c.h"
#include "model/boosting-tree-model-param.pb-c.h"
#include "model/pb_json.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Fate__BoostingTreeModelParam__FeatureNameFidMappingEntry FidEntry;
typedef Fate__BoostingTreeModelParam__AnonymousNameMappingEntry NameEntry;
typedef Fate__DecisionTreeModelParam__SplitMaskdictEntry SplitEntry;
typedef Fate__DecisionTreeModelParam__MissingDirMaskdictEntry DirEntry;
typedef Fate__DecisionTreeModelParam__LeafCountEntry CountEntry;

#define TREES_MAX 1000000u
#define NODES_MAX 100000000u

size_t sbt_format_label(double x, char *buf)
{
    if (x == rint(x) && fabs(x) < 1e15) return (size_t)snprintf(buf, 32, "%" PRId64, (int64_t)x);
    return num_format_f64(x, buf);
}

status sbt_sites(struct ctx *cx, const struct task *t, const char *const **site, size_t *n, size_t *me)
{
    size_t hosts = task_n(t, ROLE_HOST);
    const char **s = NEW(cx, const char *, hosts + 1);
    if (!s) return FAIL(cx, NOMEM, "%zu sites", hosts + 1);
    *me = 0;
    for (size_t i = 0; i <= hosts; i++) {
        struct party p = i ? task_party(t, ROLE_HOST, i - 1) : task_party(t, ROLE_GUEST, 0);
        s[i] = arena_printf(cx->mem, "%s:%u", role_name(p.role), p.id);
        if (!s[i]) return FAIL(cx, NOMEM, "%zu sites", hosts + 1);
        if (p.role == t->me.role && p.id == t->me.id) *me = i;
    }
    *site = s, *n = hosts + 1;
    return OK;
}

/* ---- importance ---- */

static status importance_name(struct ctx *cx, const struct sbt_model *m, const struct tree_node *v,
                              const char **out)
{
    size_t site = (size_t)v->party;
    if (site == m->me)
        *out = m->column[v->feature];
    else if (m->peer_column && m->peer_column[site])
        *out = m->peer_column[site][v->feature];
    else
        *out = arena_printf(cx->mem, "%s_x%u", m->site[site], v->feature);
    return *out ? OK : FAIL(cx, NOMEM, "a column name");
}

static double main_of(const struct sbt_importance *i, bool by_gain)
{
    return by_gain ? i->gain : i->splits;
}

status sbt_importances(struct ctx *cx, const struct sbt_model *m, bool by_gain, struct sbt_importance **out,
                       size_t *n)
{
    struct sbt_importance *all = NULL;
    size_t k = 0, cap = 0;
    for (size_t t = 0; t < m->n_trees; t++) {
        for (size_t i = 0; i < m->trees[t].n_nodes; i++) {
            const struct tree_node *v = &m->trees[t].nodes[i];
            if (v->is_leaf || (m->me != 0 && (size_t)v->party != m->me)) continue;
            size_t j = 0;
            while (j < k && (all[j].site != (size_t)v->party || all[j].column != v->feature))
                j++;
            if (j == cap) {
                cap = cap ? 2 * cap : 64;
                struct sbt_importance *bigger = NEW(cx, struct sbt_importance, cap);
                if (!bigger) return FAIL(cx, NOMEM, "importance of %zu columns", cap);
                if (k) memcpy(bigger, all, k * sizeof *all);
                all = bigger;
            }
            if (j == k) {
                all[k++] = (struct sbt_importance){.site = (size_t)v->party, .column = v->feature};
                TRY(importance_name(cx, m, v, &all[j].name));
            }
            all[j].splits++, all[j].gain += v->gain;
        }
    }
    for (size_t i = 1; i < k; i++) { /* stable */
        struct sbt_importance x = all[i];
        size_t j = i;
        for (; j > 0 && main_of(&all[j - 1], by_gain) < main_of(&x, by_gain); j--)
            all[j] = all[j - 1];
        all[j] = x;
    }
    *out = all, *n = k;
    return OK;
}

/* ---- to protobuf ---- */

#define PB_NEW(cx, T, n) NEW(cx, T, (n) + 1)
/* An array of n pointers to n initialised messages. */
#define PB_ARRAY(cx, T, init, count, ptrs)                                                                   \
    do {                                                                                                     \
        T *msg_ = PB_NEW(cx, T, count);                                                                      \
        (ptrs) = PB_NEW(cx, T *, count);                                                                     \
        if (!msg_ || !(ptrs)) return FAIL(cx, NOMEM, "%zu messages", (size_t)(count));                       \
        for (size_t i_ = 0; i_ < (count); i_++) {                                                            \
            init(&msg_[i_]);                                                                                 \
            (ptrs)[i_] = &msg_[i_];                                                                          \
        }                                                                                                    \
    } while (0)

/* FATE: 1 = missing cells go right, -1 = left. */
static int32_t direction(const struct tree_node *v)
{
    return v->missing_left ? -1 : 1;
}

static void node_to_pb(const struct sbt_model *m, const struct tree_node *v, Fate__NodeParam *out)
{
    bool guest = m->me == 0, own = !v->is_leaf && (size_t)v->party == m->me;
    out->id = v->id;
    out->sitename = (char *)m->site[v->is_leaf ? 0 : (size_t)v->party];
    out->fid = own ? (int32_t)v->feature : -1;
    out->bid = own && guest ? 0 : -1;
    out->weight = guest ? v->weight : 0;
    out->is_leaf = v->is_leaf;
    out->left_nodeid = v->left, out->right_nodeid = v->right;
    if (v->is_leaf || (guest && !own))
        out->missing_dir = 1;
    else
        out->missing_dir = own && !guest ? direction(v) : 0;
}

static status tree_to_pb(struct ctx *cx, const struct sbt_model *m, const struct tree *t,
                         Fate__DecisionTreeModelParam *out)
{
    bool guest = m->me == 0;
    size_t n = t->n_nodes, own = 0, inner = 0;
    for (size_t i = 0; i < n; i++) {
        inner += !t->nodes[i].is_leaf;
        own += !t->nodes[i].is_leaf && (size_t)t->nodes[i].party == m->me;
    }
    out->n_tree_ = n;
    PB_ARRAY(cx, Fate__NodeParam, fate__node_param__init, n, out->tree_);
    out->n_split_maskdict = own;
    PB_ARRAY(cx, SplitEntry, fate__decision_tree_model_param__split_maskdict_entry__init, own,
             out->split_maskdict);
    out->n_missing_dir_maskdict =
        guest ? own : inner; /* a host's table names every inner node, as FATE's does */
    PB_ARRAY(cx, DirEntry, fate__decision_tree_model_param__missing_dir_maskdict_entry__init,
             out->n_missing_dir_maskdict, out->missing_dir_maskdict);
    out->n_leaf_count = guest ? n - inner : 0;
    PB_ARRAY(cx, CountEntry, fate__decision_tree_model_param__leaf_count_entry__init, out->n_leaf_count,
             out->leaf_count);
    size_t split = 0, dir = 0, leaf = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tree_node *v = &t->nodes[i];
        node_to_pb(m, v, out->tree_[i]);
        bool mine = !v->is_leaf && (size_t)v->party == m->me;
        if (mine) out->split_maskdict[split]->key = v->id, out->split_maskdict[split++]->value = v->split;
        if (mine || (!guest && !v->is_leaf)) {
            out->missing_dir_maskdict[dir]->key = v->id;
            out->missing_dir_maskdict[dir++]->value = mine ? direction(v) : 1;
        }
        if (guest && v->is_leaf)
            out->leaf_count[leaf]->key = v->id, out->leaf_count[leaf++]->value = (int32_t)v->cover;
    }
    return OK;
}

static status importance_to_pb(struct ctx *cx, const struct sbt_model *m, bool by_gain,
                               Fate__BoostingTreeModelParam *out)
{
    struct sbt_importance *imp;
    size_t n;
    TRY(sbt_importances(cx, m, by_gain, &imp, &n));
    out->n_feature_importances = n;
    PB_ARRAY(cx, Fate__FeatureImportanceInfo, fate__feature_importance_info__init, n,
             out->feature_importances);
    for (size_t i = 0; i < n; i++) {
        Fate__FeatureImportanceInfo *o = out->feature_importances[i];
        o->sitename = (char *)(m->me ? "hostLocal" : m->site[imp[i].site]);
        o->fid = imp[i].site == m->me ? (int32_t)imp[i].column : 0;
        o->fullname = (char *)imp[i].name;
        o->importance = by_gain ? imp[i].gain : imp[i].splits;
        o->importance2 = by_gain ? imp[i].splits : imp[i].gain;
        o->main = (char *)(by_gain ? "gain" : "split");
    }
    return OK;
}

static status names_to_pb(struct ctx *cx, const struct sbt_model *m, Fate__BoostingTreeModelParam *out)
{
    out->n_feature_name_fid_mapping = m->n_columns;
    PB_ARRAY(cx, FidEntry, fate__boosting_tree_model_param__feature_name_fid_mapping_entry__init,
             m->n_columns, out->feature_name_fid_mapping);
    for (size_t i = 0; i < m->n_columns; i++) {
        out->feature_name_fid_mapping[i]->key = (int32_t)i;
        out->feature_name_fid_mapping[i]->value = (char *)m->column[i];
    }
    out->n_anonymous_name_mapping = m->anonymous ? m->n_columns : 0;
    PB_ARRAY(cx, NameEntry, fate__boosting_tree_model_param__anonymous_name_mapping_entry__init,
             out->n_anonymous_name_mapping, out->anonymous_name_mapping);
    for (size_t i = 0; i < out->n_anonymous_name_mapping; i++) {
        out->anonymous_name_mapping[i]->key = (char *)m->anonymous[i];
        out->anonymous_name_mapping[i]->value = (char *)m->column[i];
    }
    return OK;
}

static status param_to_pb(struct ctx *cx, const struct sbt_model *m, bool by_gain, struct bytes *pb)
{
    Fate__BoostingTreeModelParam out;
    fate__boosting_tree_model_param__init(&out);
    out.tree_num = (int32_t)m->n_trees;
    out.n_trees_ = m->n_trees;
    PB_ARRAY(cx, Fate__DecisionTreeModelParam, fate__decision_tree_model_param__init, m->n_trees, out.trees_);
    for (size_t t = 0; t < m->n_trees; t++)
        TRY(tree_to_pb(cx, m, &m->trees[t], out.trees_[t]));
    out.tree_dim = (int32_t)m->dim;
    out.best_iteration = m->best_iteration;
    out.model_name = (char *)"hetero_sbt";
    TRY(importance_to_pb(cx, m, by_gain, &out));
    TRY(names_to_pb(cx, m, &out));
    if (m->me == 0) {
        out.n_init_score = m->dim, out.init_score = (double *)m->init;
        out.n_losses = m->n_losses, out.losses = (double *)m->losses;
        out.num_classes = (int32_t)m->n_classes;
        out.n_classes_ = m->n_classes;
        out.classes_ = PB_NEW(cx, char *, m->n_classes);
        if (!out.classes_) return FAIL(cx, NOMEM, "%zu classes", m->n_classes);
        for (size_t i = 0; i < m->n_classes; i++) {
            char buf[32];
            out.classes_[i] = arena_strndup(cx->mem, buf, sbt_format_label(m->classes[i], buf));
            if (!out.classes_[i]) return FAIL(cx, NOMEM, "%zu classes", m->n_classes);
        }
    }
    return pb_pack(cx, &out.base, pb);
}

static status meta_to_pb(struct ctx *cx, const struct sbt_model *m, const struct sbt_params *p,
                         struct bytes *pb)
{
    Fate__BoostingTreeModelMeta out;
    Fate__DecisionTreeModelMeta tree;
    Fate__CriterionMeta criterion;
    Fate__QuantileMeta quantile;
    Fate__ObjectiveMeta objective;
    fate__boosting_tree_model_meta__init(&out);
    fate__decision_tree_model_meta__init(&tree);
    fate__criterion_meta__init(&criterion);
    fate__quantile_meta__init(&quantile);
    fate__objective_meta__init(&objective);
    const struct gbdt_tree_params *tp = &p->train.tree;
    double l2_l1[2] = {tp->l2, tp->l1};
    tree.max_depth = (int32_t)tp->max_depth;
    tree.min_sample_split = tp->min_sample_split > INT32_MAX ? INT32_MAX : (int32_t)tp->min_sample_split;
    tree.min_leaf_node = tp->min_leaf_node > INT32_MAX ? INT32_MAX : (int32_t)tp->min_leaf_node;
    tree.min_impurity_split = tp->min_impurity_split;
    tree.use_missing = out.use_missing = m->use_missing;
    tree.zero_as_missing = out.zero_as_missing = m->zero_as_missing;
    quantile.bin_num = (int32_t)p->bins.max_bins;
    out.tree_meta = &tree, out.quantile_meta = &quantile;
    out.num_trees = (int32_t)p->train.n_rounds;
    out.module = (char *)"HeteroSecureBoost", out.boosting_strategy = (char *)"std";
    if (m->me == 0) {
        criterion.criterion_method = (char *)"xgboost";
        criterion.n_criterion_param = 2, criterion.criterion_param = l2_l1;
        tree.criterion_meta = &criterion;
        objective.objective = (char *)p->objective;
        objective.n_param = p->n_objective_params, objective.param = (double *)p->objective_params;
        out.objective_meta = &objective;
        out.learning_rate = m->learning_rate;
        out.task_type = (char *)(p->regression ? "regression" : "classification");
        out.n_iter_no_change = p->train.n_iter_no_change;
        out.tol = p->train.tol;
    }
    return pb_pack(cx, &out.base, pb);
}

status sbt_model_save(struct ctx *cx, const struct sbt_model *m, const struct sbt_params *p,
                      const char *component, struct model_part **out)
{
    struct model_part *part = NEW(cx, struct model_part, 1);
    if (!part) return FAIL(cx, NOMEM, "a model");
    *part = (struct model_part){
        .component = component, .alias = "model", .module = "HeteroSecureBoost", .n_buffers = 2};
    part->buffers[0].name = m->me ? "HeteroSecureBoostingTreeHostMeta" : "HeteroSecureBoostingTreeGuestMeta";
    part->buffers[0].proto = "BoostingTreeModelMeta";
    part->buffers[1].name =
        m->me ? "HeteroSecureBoostingTreeHostParam" : "HeteroSecureBoostingTreeGuestParam";
    part->buffers[1].proto = "BoostingTreeModelParam";
    TRY(meta_to_pb(cx, m, p, &part->buffers[0].pb));
    TRY(param_to_pb(cx, m, p->by_gain, &part->buffers[1].pb));
    *out = part;
    return OK;
}

/* ---- from protobuf ---- */

static status find_site(struct ctx *cx, const struct sbt_model *m, const char *name, int32_t *out)
{
    for (size_t i = 0; i < m->n_sites; i++) {
        if (strcmp(m->site[i], name) != 0) continue;
        *out = (int32_t)i;
        return OK;
    }
    return FAIL(cx, FORMAT, "the model has a node of %.60s, which is not a party of this job", name);
}

static status node_from_pb(struct ctx *cx, const struct sbt_model *m, const Fate__NodeParam *in, size_t id,
                           size_t n, struct tree_node *out)
{
    if (in->id < 0 || (size_t)in->id != id) return FAIL(cx, FORMAT, "node %zu has id %d", id, in->id);
    *out = (struct tree_node){
        .id = in->id, .left = -1, .right = -1, .is_leaf = in->is_leaf, .weight = in->weight};
    if (in->is_leaf) return OK;
    if (in->left_nodeid <= in->id || in->right_nodeid <= in->id || (size_t)in->left_nodeid >= n ||
        (size_t)in->right_nodeid >= n || in->left_nodeid == in->right_nodeid)
        return FAIL(cx, FORMAT, "node %zu has children %d and %d of %zu nodes", id, in->left_nodeid,
                    in->right_nodeid, n);
    out->left = in->left_nodeid, out->right = in->right_nodeid;
    TRY(find_site(cx, m, in->sitename, &out->party));
    if ((size_t)out->party != m->me) return OK;
    if (in->fid < 0 || (size_t)in->fid >= m->n_columns)
        return FAIL(cx, FORMAT, "node %zu splits on column %d of %zu", id, in->fid, m->n_columns);
    out->feature = (uint32_t)in->fid;
    return OK;
}

/* Own inner node of that id, or NULL. */
static struct tree_node *own_node(const struct sbt_model *m, struct tree_node *node, size_t n, int32_t id)
{
    if (id < 0 || (size_t)id >= n) return NULL;
    return !node[id].is_leaf && (size_t)node[id].party == m->me ? &node[id] : NULL;
}

static status tree_from_pb(struct ctx *cx, const struct sbt_model *m, const Fate__DecisionTreeModelParam *in,
                           struct tree *out)
{
    size_t n = in->n_tree_, own = 0;
    if (n == 0 || n > NODES_MAX) return FAIL(cx, FORMAT, "%zu nodes", n);
    struct tree_node *node = NEW(cx, struct tree_node, n);
    if (!node) return FAIL(cx, NOMEM, "%zu nodes", n);
    for (size_t i = 0; i < n; i++) {
        TRY(node_from_pb(cx, m, in->tree_[i], i, n, &node[i]));
        own += !node[i].is_leaf && (size_t)node[i].party == m->me;
        if (node[i].is_leaf) continue;
        node[i].split = (double)NAN;
    }
    for (size_t i = 0; i < in->n_split_maskdict; i++) {
        struct tree_node *v = own_node(m, node, n, in->split_maskdict[i]->key);
        if (!v || !isnan(v->split) || isnan(in->split_maskdict[i]->value))
            return FAIL(cx, FORMAT, "split value of node %d", in->split_maskdict[i]->key);
        v->split = in->split_maskdict[i]->value;
    }
    if (own != in->n_split_maskdict)
        return FAIL(cx, FORMAT, "%zu own nodes, but %zu split values", own, in->n_split_maskdict);
    for (size_t i = 0; i < in->n_missing_dir_maskdict; i++) {
        struct tree_node *v = own_node(m, node, n, in->missing_dir_maskdict[i]->key);
        if (v) v->missing_left = in->missing_dir_maskdict[i]->value != 1;
    }
    for (size_t i = 0; i < in->n_leaf_count; i++) {
        int32_t id = in->leaf_count[i]->key;
        if (id >= 0 && (size_t)id < n) node[id].cover = (uint64_t)(uint32_t)in->leaf_count[i]->value;
    }
    *out = (struct tree){n, node};
    return OK;
}

static status columns_from_pb(struct ctx *cx, const Fate__BoostingTreeModelParam *in, struct sbt_model *m)
{
    size_t n = in->n_feature_name_fid_mapping;
    const char **name = NEW(cx, const char *, n + 1), **anon = NEW(cx, const char *, n + 1);
    if (!name || !anon) return FAIL(cx, NOMEM, "%zu columns", n);
    for (size_t i = 0; i < n; i++) {
        const FidEntry *e = in->feature_name_fid_mapping[i];
        if (e->key < 0 || (size_t)e->key >= n || name[e->key])
            return FAIL(cx, FORMAT, "column number %d", e->key);
        name[e->key] = e->value;
    }
    for (size_t i = 0; i < in->n_anonymous_name_mapping; i++)
        for (size_t k = 0; k < n; k++)
            if (strcmp(in->anonymous_name_mapping[i]->value, name[k]) == 0)
                anon[k] = in->anonymous_name_mapping[i]->key;
    for (size_t k = 0; k < n; k++)
        if (!anon[k]) anon[k] = name[k];
    m->n_columns = n, m->column = name;
    m->anonymous = m->me ? anon : NULL;
    return OK;
}

static status guest_from_pb(struct ctx *cx, const Fate__BoostingTreeModelMeta *meta,
                            const Fate__BoostingTreeModelParam *in, struct sbt_model *m)
{
    if (!meta->objective_meta) return FAIL(cx, FORMAT, "no objective");
    size_t n = in->n_classes_;
    double *classes = NEW(cx, double, n + 1);
    if (!classes) return FAIL(cx, NOMEM, "%zu classes", n);
    for (size_t i = 0; i < n; i++)
        if (!num_parse_f64(in->classes_[i], strlen(in->classes_[i]), &classes[i]))
            return FAIL(cx, FORMAT, "class %.40s is not a number", in->classes_[i]);
    TRY(gbdt_objective_make(cx, meta->objective_meta->objective, meta->objective_meta->param,
                            meta->objective_meta->n_param, n ? (unsigned)n : 1, &m->objective));
    if (in->n_init_score != m->dim || gbdt_dim(&m->objective) != m->dim)
        return FAIL(cx, FORMAT, "%zu initial scores and %u trees a round for %zu classes", in->n_init_score,
                    m->dim, n);
    m->classes = classes, m->n_classes = m->objective.n_classes > 1 ? n : 0;
    m->learning_rate = meta->learning_rate;
    m->init = in->init_score;
    m->losses = in->losses, m->n_losses = in->n_losses;
    return OK;
}

static status load(struct ctx *cx, const struct task *t, const struct model_part *part, struct sbt_model *out)
{
    const struct model_buffer *mb = model_buffer(part, "Meta"), *pb = model_buffer(part, "Param");
    if (!mb || !pb) return FAIL(cx, FORMAT, "it lacks Meta or Param");
    ProtobufCMessage *msg;
    TRY(pb_unpack(cx, &fate__boosting_tree_model_meta__descriptor, mb->pb, &msg));
    const Fate__BoostingTreeModelMeta *meta = (const Fate__BoostingTreeModelMeta *)msg;
    TRY(pb_unpack(cx, &fate__boosting_tree_model_param__descriptor, pb->pb, &msg));
    const Fate__BoostingTreeModelParam *in = (const Fate__BoostingTreeModelParam *)msg;
    struct sbt_model m = {.use_missing = meta->use_missing,
                          .zero_as_missing = meta->zero_as_missing,
                          .best_iteration = in->best_iteration};
    TRY(sbt_sites(cx, t, &m.site, &m.n_sites, &m.me));
    if (strcmp(in->model_name, "hetero_sbt") != 0)
        return FAIL(cx, UNSUPPORTED, "a model of kind %.40s, norn reads hetero_sbt", in->model_name);
    if (in->tree_dim < 1 || in->n_trees_ > TREES_MAX || in->n_trees_ % (size_t)in->tree_dim)
        return FAIL(cx, FORMAT, "%zu trees, %d a round", in->n_trees_, in->tree_dim);
    m.dim = (unsigned)in->tree_dim;
    TRY(columns_from_pb(cx, in, &m));
    if (m.me == 0) TRY(guest_from_pb(cx, meta, in, &m));
    struct tree *trees = NEW(cx, struct tree, in->n_trees_ + 1);
    if (!trees) return FAIL(cx, NOMEM, "%zu trees", in->n_trees_);
    for (size_t i = 0; i < in->n_trees_; i++)
        TRY_IN(cx, tree_from_pb(cx, &m, in->trees_[i], &trees[i]), "tree %zu", i);
    m.trees = trees, m.n_trees = in->n_trees_;
    *out = m;
    return OK;
}

status sbt_model_load(struct ctx *cx, const struct task *t, const struct model_part *part,
                      struct sbt_model *out)
{
    TRY_IN(cx, load(cx, t, part, out), "model of %s", part->component);
    return OK;
}
