#include "net/streams.h"
#include "net/node_int.h"

size_t node_streams(const struct node *n, struct stream_state *out, size_t max)
{
    size_t k = 0;
    for (size_t i = 0; i <= n->n_links; i++) { /* our own party's link is the last */
        const struct link *l = node_link_at(n, i);
        for (const struct stream_out *s = l->outs; s; s = s->next_of_link, k++)
            if (k < max)
                out[k] = (struct stream_state){.key = s->key,
                                               .peer = l->peer.party,
                                               .out = true,
                                               .messages = s->out.n,
                                               .bytes = s->queued,
                                               .total = s->total};
        for (const struct stream_in *s = l->ins; s; s = s->next_of_link, k++)
            if (k < max)
                out[k] = (struct stream_state){.key = s->key,
                                               .peer = l->peer.party,
                                               .messages = s->in.n,
                                               .bytes = s->held,
                                               .total = s->total};
    }
    return k;
}
