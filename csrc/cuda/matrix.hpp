// Products with weight matrices A[hidden][gene], dense or compressed: four samples at a time, in a team K tiles of
// four, for all of which a dense weight is read once.
#pragma once
#include "context.hpp"

namespace dash {
namespace gpu {

template <class T>
DASH_BLOCK Four<T>* panel(const Matrix<T>& A, int p, int genes) {
    return p < A.shared_panels ? A.shared_panel + int64_t(p) * genes
                             : A.global_panel + int64_t(p - A.shared_panels) * genes;
}

constexpr int kMatrices = 4;  // W_sums, W_prods, U_sums, U_prods

DASH_HD inline int tensor_of(int matrix) {
    return matrix < 2 ? (matrix ? W_PRODS : W_SUMS) : (matrix == 3 ? U_PRODS : U_SUMS);
}

template <class T, int K>
DASH_BLOCK Matrix<T>* matrix_of(Context<T, K>* c, int i) {
    return i < 2 ? &c->W[i] : &c->U[i - 2];
}

template <class T>
DASH_BLOCK void add_scaled(Four<T>& sum, T factor, const Four<T>& x) {
    DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum.s[s] += factor * x.s[s];
}

// Bring a matrix from the caller's order into the form that the products read. No barrier.
template <class B, class T, int K>
DASH_PHASE void load_matrix(B block, Context<T, K>* c, Matrix<T>* A) {
    const int G = c->G, m = c->m, genes = c->genes;
    if (A->compressed) {
        block.for_all(A->form->nnz, [=](int k) {
            const MatrixForm& form = *A->form;
            A->by_hidden[k] = A->value[k];
            A->by_gene[k] = A->value[form.gene_from[k]];
            const_cast<uint16_t*>(A->index)[k] = form.index[k];
            const_cast<uint16_t*>(A->gene_index)[k] = form.gene_index[k];
        });
        block.for_all(c->hidden + 1, [=](int h) { const_cast<int32_t*>(A->ptr)[h] = A->form->ptr[h]; });
        block.for_all(genes + 1, [=](int g) { const_cast<int32_t*>(A->gene_ptr)[g] = A->form->gene_ptr[g]; });
        return;
    }
    block.for_all(c->hidden * genes, [=](int i) {
        const int h = i / genes, g = i % genes;
        const int64_t at = h * A->form->hidden_step + g * A->form->gene_step;
        const bool there = h < m && g < G && (A->active == nullptr || A->active[at]);
        panel(*A, h / kPanel, genes)[g].s[h % kPanel] = there ? A->value[at] : T(0);
    });
}

// Bring the values back into the caller's order, or that of the compressed form. No barrier.
template <class B, class T, int K>
DASH_PHASE void unload_matrix(B block, Context<T, K>* c, const Matrix<T>* A, T* to) {
    const int G = c->G, m = c->m, genes = c->genes;
    if (A->compressed) {
        block.for_all(A->form->nnz, [=](int k) { to[k] = A->by_hidden[k]; });
        return;
    }
    const bool by_gene = A->form->gene_step == 1;
    block.for_all(m * G, [=](int i) {
        const int h = by_gene ? i / G : i % m, g = by_gene ? i % G : i / m;
        to[i] = panel(*A, h / kPanel, genes)[g].s[h % kPanel];
    });
}

// Sums over genes of A[h][g] x[g] for every padded hidden unit h and sample s of tile t: finish(h, t, s, sum). A warp
// takes a hidden unit and a tile; its lanes share the entries. No barrier.
template <class B, class T, int K, class F>
DASH_BLOCK void compressed_hidden_sums(B block, const Context<T, K>* c, const Matrix<T>* A, const Four<T>* x, int first,
                                       F finish) {
    const int genes = c->genes;
    block.template warp_sums<kSamples, T>(
        first, c->units,
        [=](int item, int lane, T* acc) {
            const int h = item / K;
            const Four<T>* from = x + item % K * genes;
            for (int k = A->ptr[h] + lane; k < A->ptr[h + 1]; k += kLanes) {
                const T value = A->by_hidden[k];
                const Four<T> y = from[A->index[k]];
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) acc[s] += value * y.s[s];
            }
        },
        [=](int item, int s, T sum) { finish(item / K, item % K, s, sum); });
}

// The same for a dense matrix and one tile. A warp takes eight hidden units; its lanes share the genes.
template <class B, class T, class F>
DASH_BLOCK void dense_hidden_sums(B block, const Context<T, 1>* c, const Matrix<T>* A, const Four<T>* x, int first,
                                  F finish) {
    const int genes = c->genes;
    block.template warp_sums<kHidden * kSamples, T>(
        first, c->hidden / kHidden,
        [=](int item, int lane, T* acc) {
            const Four<T>* low = panel(*A, 2 * item, genes);
            const Four<T>* high = panel(*A, 2 * item + 1, genes);
            for (int g = lane; g < genes; g += kLanes) {
                const Four<T> from = x[g], a = low[g], b = high[g];
                DASH_UNROLL for (int j = 0; j < kPanel; ++j)
                    DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
                        acc[j * kSamples + s] += a.s[j] * from.s[s];
                        acc[(kPanel + j) * kSamples + s] += b.s[j] * from.s[s];
                    }
            }
        },
        [=](int item, int k, T sum) { finish(item * kHidden + k / kSamples, 0, k % kSamples, sum); });
}

// In a team the genes are cut into parts, so that all warps have work: a warp takes a panel and a part, for all tiles.
template <class B, class T, int K>
DASH_BLOCK void add_hidden_parts(B block, const Context<T, K>* c, const Matrix<T>* A, const Four<T>* x, int branch) {
    if (A->compressed) return;
    const int genes = c->genes, panels = c->hidden / kPanel, parts = c->parts, span = c->span;
    Four<T>* to = c->hidden_parts + int64_t(branch) * c->units * parts;
    block.template warp_sums<kPanel * K * kSamples, T>(
        branch * panels * parts, panels * parts,
        [=](int item, int lane, T* acc) {
            const Four<T>* weights = panel(*A, item % panels, genes);
            const int begin = item / panels * span, end = begin + span < genes ? begin + span : genes;
            // weights come from global memory: two loads are on their way while one is worked on
            Four<T> ahead[2] = {};
            DASH_UNROLL for (int j = 0; j < 2; ++j)
                if (begin + lane + j * kLanes < end) ahead[j] = weights[begin + lane + j * kLanes];
            for (int g = begin + lane; g < end; g += kLanes) {
                const Four<T> a = ahead[0];
                ahead[0] = ahead[1];
                if (g + 2 * kLanes < end) ahead[1] = weights[g + 2 * kLanes];
                DASH_UNROLL for (int t = 0; t < K; ++t) {
                    const Four<T> from = x[t * genes + g];
                    DASH_UNROLL for (int j = 0; j < kPanel; ++j)
                        DASH_UNROLL for (int s = 0; s < kSamples; ++s)
                            acc[(j * K + t) * kSamples + s] += a.s[j] * from.s[s];
                }
            }
        },
        [=](int item, int k, T sum) {
            const int64_t row = item % panels * kPanel * K + k / kSamples;  // h * K + tile
            to[row * parts + item / panels].s[k % kSamples] = sum;
        });
}

template <class B, class T, int K, class F>
DASH_BLOCK void add_up_parts(B block, const Context<T, K>* c, int branch, F finish) {
    const int parts = c->parts;
    const Four<T>* from = c->hidden_parts + int64_t(branch) * c->units * parts;
    block.template warp_sums<kSamples, T>(
        branch * c->units, c->units,
        [=](int row, int lane, T* acc) {
            for (int p = lane; p < parts; p += kLanes) {
                const Four<T> part = from[int64_t(row) * parts + p];
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) acc[s] += part.s[s];
            }
        },
        [=](int row, int s, T sum) { finish(row / K, row % K, s, sum); });
}

// The sums over genes of both branches: finish(branch, h, tile, s, sum). Ends with a barrier.
template <class B, class T, int K, class F>
DASH_BLOCK void to_hidden(B block, const Context<T, K>* c, const Matrix<T>* A0, const Matrix<T>* A1, const Four<T>* x0,
                          const Four<T>* x1, F finish) {
    if constexpr (K > 1) {
        if (!A0->compressed || !A1->compressed) {
            add_hidden_parts(block, c, A0, x0, 0);
            add_hidden_parts(block, c, A1, x1, 1);
            block.barrier();
        }
    }
    for (int branch = 0; branch < 2; ++branch) {
        const Matrix<T>* A = branch ? A1 : A0;
        const Four<T>* x = branch ? x1 : x0;
        const auto done = [=](int h, int tile, int s, T sum) { finish(branch, h, tile, s, sum); };
        if (A->compressed)
            compressed_hidden_sums(block, c, A, x, branch * (c->units / kHidden), done);
        else if constexpr (K > 1)
            add_up_parts(block, c, branch, done);
        else
            dense_hidden_sums(block, c, A, x, branch * (c->hidden / kHidden), done);
    }
    block.barrier();
}

// sum over hidden units of A[h][g] z[h], compressed
template <class T>
DASH_BLOCK Four<T> gene_sum(const Matrix<T>& A, const Four<T>* z, int g) {
    Four<T> sum{};
    for (int k = A.gene_ptr[g]; k < A.gene_ptr[g + 1]; ++k) add_scaled(sum, A.by_gene[k], z[A.gene_index[k]]);
    return sum;
}

// The same for two genes, which share the loads of z when the matrix is dense.
template <class T>
DASH_BLOCK void gene_sums_of_two(const Matrix<T>& A, const Four<T>* z, int genes, int hidden, int g0, int g1,
                                 Four<T>* sum) {
    if (A.compressed) {
        sum[0] = gene_sum(A, z, g0);
        sum[1] = gene_sum(A, z, g1);
        return;
    }
    sum[0] = Four<T>{}, sum[1] = Four<T>{};
    for (int p = 0; p < hidden / kPanel; ++p) {
        const Four<T>* rows = panel(A, p, genes);
        const Four<T> a = rows[g0], b = rows[g1];
        DASH_UNROLL for (int j = 0; j < kPanel; ++j) {
            const Four<T> from = z[p * kPanel + j];
            add_scaled(sum[0], a.s[j], from);
            add_scaled(sum[1], b.s[j], from);
        }
    }
}

// Eight genes to a warp: the lanes of a quad share a panel's hidden units; each gets the sums of one tile in the end.
template <class T, int K>
DASH_BLOCK void quad_gene_sums(const Context<T, K>* c, const Matrix<T>& A, const Four<T>* z, int g, int j, T* acc) {
    const int genes = c->genes, hidden = c->hidden;
    if (A.compressed) {
        const Four<T> sum = gene_sum(A, z + j * hidden, g);
        DASH_UNROLL for (int t = 0; t < K; ++t)
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) acc[2 * t * kSamples + s] = t == j ? sum.s[s] : T(0);
        return;
    }
    const T* weight = &A.global_panel[g].s[j];  // a team has no shared memory
    const int64_t step = int64_t(genes) * kPanel;
    DASH_UNROLL_BY(32 / sizeof(T)) for (int p = 0; p < hidden / kPanel; ++p) {
        const T w = weight[p * step];
        DASH_UNROLL for (int t = 0; t < K; ++t) {
            const Four<T> from = z[t * hidden + p * kPanel + j];
            DASH_UNROLL for (int s = 0; s < kSamples; ++s) acc[2 * t * kSamples + s] += w * from.s[s];
        }
    }
}

// finish(row, g, sum of A0 z0, sum of A1 z1) for every row. A thread takes two genes, 32 apart, or one when both
// matrices are compressed; in a team a warp takes eight genes. Ends with a barrier.
template <class B, class T, int K, class F>
DASH_BLOCK void to_genes(B block, const Context<T, K>* c, const Matrix<T>* A0, const Matrix<T>* A1, const Four<T>* z0,
                         const Four<T>* z1, F finish) {
    const int genes = c->genes, hidden = c->hidden;
    if (A0->compressed && A1->compressed) {
        block.for_all_sync(c->rows, [=](int row) {
            const Place at = place_of<K>(row, genes);
            const int from = at.tile * hidden;
            finish(row, at.at, gene_sum(*A0, z0 + from, at.at), gene_sum(*A1, z1 + from, at.at));
        });
        return;
    }
    if constexpr (K > 1) {
        static_assert(K == kQuad && kPanel == kQuad, "a lane of a quad stands for a hidden unit, then for a tile");
        constexpr int kGenes = kLanes / kQuad;
        block.template quad_sums<2 * K * kSamples, T>(
            genes / kGenes,
            [=](int item, int lane, T* acc) {
                const int g = item * kGenes + lane / kQuad;
                quad_gene_sums(c, *A0, z0, g, lane % kQuad, acc);
                quad_gene_sums(c, *A1, z1, g, lane % kQuad, acc + kSamples);
            },
            [=](int item, int lane, const T* sum) {
                const int g = item * kGenes + lane / kQuad;
                Four<T> sums, prods;
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) sums.s[s] = sum[s], prods.s[s] = sum[kSamples + s];
                finish(lane % kQuad * genes + g, g, sums, prods);
            });
        block.barrier();
    } else {
        block.for_all_sync(round_up(genes, 2 * kLanes) / 2, [=](int i) {
            const int g0 = i / kLanes * 2 * kLanes + i % kLanes;
            const bool two = g0 + kLanes < genes;
            const int g1 = two ? g0 + kLanes : g0;
            Four<T> sums[2], prods[2];
            gene_sums_of_two(*A0, z0, genes, hidden, g0, g1, sums);
            gene_sums_of_two(*A1, z1, genes, hidden, g0, g1, prods);
            finish(g0, g0, sums[0], prods[0]);
            if (two) finish(g1, g1, sums[1], prods[1]);
        });
    }
}

// gradient of A[h][g] = (old, unless fresh) + sum over slots, tiles and samples of left[slot][h] * right[slot][g]; left
// and right are the first slot's, `stride` apart. A thread takes eight hidden units and two genes. No barrier.
template <class B, class T, int K>
DASH_BLOCK void add_outer(B block, const Context<T, K>* c, const Matrix<T>* A, const Four<T>* left,
                          const Four<T>* right, int64_t stride, int64_t slots, bool fresh) {
    const int genes = c->genes, hidden = c->hidden;
    if (A->compressed) {
        block.for_all(A->form->nnz, [=](int k) {
            const Four<T>*a = left + A->form->row[k], *b = right + A->form->index[k];
            T sum[kSamples] = {};
            for (int64_t n = 0; n < slots * K; ++n) {
                const Four<T> x = a[n / K * stride + n % K * hidden], y = b[n / K * stride + n % K * genes];
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) sum[s] += x.s[s] * y.s[s];
            }
            const T total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
            A->grad[k] = fresh ? total : A->grad[k] + total;
        });
        return;
    }
    const int blocks = hidden / kHidden, G = c->G, m = c->m;
    block.for_all(blocks * (round_up(genes, 2 * kLanes) / 2), [=](int i) {
        const int lane = i % kLanes, item = i / kLanes;
        const int h0 = item % blocks * kHidden, g0 = item / blocks * 2 * kLanes + lane;
        const int g1 = g0 + kLanes < genes ? g0 + kLanes : g0;
        T acc[kHidden][2] = {};
        // the slots come from L2: the loads of the next one are on their way while this one is worked on
        DASH_UNROLL_TWICE for (int64_t n = 0; n < slots * K; ++n) {
            const Four<T>*a = left + n / K * stride + n % K * hidden + h0, *b = right + n / K * stride + n % K * genes;
            const Four<T> x = b[g0], y = b[g1];
            DASH_UNROLL for (int h = 0; h < kHidden; ++h) {
                const Four<T> z = a[h];
                DASH_UNROLL for (int s = 0; s < kSamples; ++s) {
                    acc[h][0] += z.s[s] * x.s[s];
                    acc[h][1] += z.s[s] * y.s[s];
                }
            }
        }
        DASH_UNROLL for (int h = 0; h < kHidden; ++h)
            DASH_UNROLL for (int j = 0; j < 2; ++j) {
                const int g = g0 + j * kLanes;
                if (h0 + h >= m || g >= G) continue;
                const int64_t at = (h0 + h) * A->form->hidden_step + g * A->form->gene_step;
                A->grad[at] = fresh ? acc[h][j] : A->grad[at] + acc[h][j];
            }
    });
}

}  // namespace gpu
}  // namespace dash
