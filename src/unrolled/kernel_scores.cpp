// Best alignment scores (Gotoh 1982) of sequences with targets that lie side by side: the loops of bounds.py.
//
// Each target has a lane of its own, so none waits for another (Rognes 2011). The targets are taken in tiles whose rows
// H and F stay in the first cache; `left` hands each query position over from one tile to the next. Scores are whole
// numbers that T holds, so they are those of bounds.py, which sees to it that none is too large.

#include <algorithm>
#include <cstdint>

#include "kernel_products.h"

enum { LANES = 32, TILE = 100 };  // as in bounds.py

template <class T> struct Scoring {
    const T* profile;    // (tiles, letters, TILE, LANES): of every letter at every place of the targets
    const long* lengths; // (LANES) of the targets
    long letters, widest;
    T opened, extended;  // costs of a gap's first letter, and of each further one, which is not more
    T never;             // less than any score
};

// Two vectors go side by side: each waits less for its own last result.
template <class T> struct Side {
    enum { bytes = std::min<int>(BYTES, LANES * sizeof(T) / 2), lanes = bytes / sizeof(T), across = 2 * lanes };
    typedef T V __attribute__((vector_size(bytes), aligned(sizeof(T)), may_alias));
};
template <class V> INLINE V larger(V a, V b) { return a > b ? a : b; }

// Query (n) -> best, for the targets in lanes lane .. lane + across. `local`: an alignment starts and ends anywhere and
// is never below 0; else gaps at the ends are free. left (2, n, across) is scratch space.
template <class T, bool local>
static void best_of(const Scoring<T>& s, const uint8_t* query, long n, long lane, T* left, T* best) {
    typedef typename Side<T>::V V;
    enum { lanes = Side<T>::lanes, across = Side<T>::across };
    alignas(64) T H[TILE * across], F[TILE * across];
    T *const left_H = left, *const left_E = left + n * across;
    const long* lengths = s.lengths + lane;
    std::fill_n(left_H, n * across, T(0));
    std::fill_n(left_E, n * across, T(-s.opened));
    std::fill_n(best, across, local ? T(0) : s.never);
    for (long start = 0, tile = 0; start < s.widest; start += TILE, tile++) {
        const long width = std::min<long>(TILE, s.widest - start);
        std::fill_n(H, width * across, T(0));
        std::fill_n(F, width * across, s.never);
        V carry[2] = {}, top[2] = {};
        for (long i = 0; i < n; i++) {
            const T* scores = s.profile + (tile * s.letters + query[i]) * TILE * LANES + lane;
            V *above = (V*)(left_H + i * across), *beside = (V*)(left_E + i * across), D[2], E[2];
            for (int v = 0; v < 2; v++) D[v] = carry[v], carry[v] = above[v], E[v] = beside[v];
            for (long j = 0; j < width; j++)
                for (int v = 0; v < 2; v++) {
                    V &h = ((V*)(H + j * across))[v], &f = ((V*)(F + j * across))[v];
                    f = larger<V>(h - s.opened, f - s.extended);
                    V d = larger<V>(D[v] + ((const V*)(scores + j * LANES))[v], f);
                    if (local) d = larger<V>(d, V{});
                    D[v] = h;
                    h = larger<V>(d, E[v]);
                    E[v] = larger<V>(d - s.opened, E[v] - s.extended);  // opened out of another gap it costs more
                    if (local) top[v] = larger<V>(top[v], h);
                }
            for (int v = 0; v < 2; v++) above[v] = ((V*)(H + (TILE - 1) * across))[v], beside[v] = E[v];
            for (long c = 0; !local && c < across; c++) {
                const long end = lengths[c] - 1 - start;
                if (0 <= end && end < TILE) best[c] = std::max(best[c], H[end * across + c]);
            }
        }
        for (long c = 0; c < across; c++)
            if (local) best[c] = std::max(best[c], ((const T*)top)[c]);
            else
                for (long j = 0; j < TILE && j < lengths[c] - start; j++) best[c] = std::max(best[c], H[j * across + c]);
    }
}

// Queries, each `codes` starts[q] .. starts[q + 1] -> best (Q, LANES)
template <class T>
static void best_scores(const uint8_t* codes, const long* starts, const long* queries, long Q, bool local,
                        const Scoring<T>& s, T* best) {
    enum { across = Side<T>::across };
    long longest = 0;
    for (long q = 0; q < Q; q++) longest = std::max(longest, starts[queries[q] + 1] - starts[queries[q]]);
    T* const left = (T*)malloc(sizeof(T) * 2 * across * (longest + 1));
    for (long q = 0; q < Q; q++) {
        const long start = starts[queries[q]], n = starts[queries[q] + 1] - start;
        for (long lane = 0; lane < LANES; lane += across)
            (local ? best_of<T, true> : best_of<T, false>)(s, codes + start, n, lane, left, best + q * LANES + lane);
    }
    free(left);
}

#define EXPORT(T)                                                                                                     \
    extern "C" void best_scores_##T(const uint8_t* codes, const long* starts, const long* queries, long Q,           \
                                    long local, const Scoring<T>* s, T* best) {                                       \
        best_scores(codes, starts, queries, Q, local, *s, best);                                                      \
    }
EXPORT(int16_t) EXPORT(float) EXPORT(double)
