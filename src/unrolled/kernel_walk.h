// How the cells of kernel.cpp go over the steps of a packed batch, forwards and back.

#pragma once

#include "kernel_products.h"

// Everything a call is given; which arrays a cell uses is said at the cell. All are row-major, (rows, width).
template <class T> struct Job {
    long steps, H, reversed, window, linear;
    long begin, end, fresh;  // the steps to go over, in reading order; 1 at the first call for a batch
    const long* first;   // (steps + 1)
    T* a;                // (N, G H) pre-activations on entry, gates on exit; `out` itself for the RNN
    T* out;              // (N, .) h_t, `ld` apart
    T* cell;             // (N, H) C_t (LSTM)
    const T *W, *h0, *C0;  // (G H, H), (B, H), (B, H)
    const T* dout;       // (N, .) dL/dh_t from above, `ldd` apart
    T *da, *dh, *dC;     // (N, G H); (B, H) dL/dh_T on entry, dL/dh_0 on exit; likewise for C
    T *norm_h, *norm_C;  // (N) |dL/dh_t| and |dL/dC_t|, or null
    T* reset;            // (N, H) r_t * h_{t-1} (GRU, reset before)
    T* scratch;          // space for W's panels, kept between calls for one batch, and (B, H) behind them
    long ld, ldd;
};

template <class T> struct Step {
    const Job<T>& job;
    long t, row, n, before, known;  // n sequences; those below `known` have a step before

    Step(const Job<T>& job, long t) : job(job), t(t), row(job.first[t]), n(job.first[t + 1] - row) {
        const long prev = job.reversed ? t + 1 : t - 1;
        const bool inside = prev >= 0 && prev < job.steps;
        before = inside ? job.first[prev] : 0;
        known = inside ? job.first[prev + 1] - before : 0;
        known = known < n ? known : n;
    }
    long at(long r) const { return row + r; }
    // state of sequence r before this step, in `states` (ld apart) or at the start
    const T* previous(long r, const T* states, long ld, const T* start) const {
        return r < known ? states + (before + r) * ld : start + r * job.H;
    }
    const T* h(long r) const { return previous(r, job.out, job.ld, job.h0); }
    const T* C(long r) const { return previous(r, job.cell, job.H, job.C0); }
    // y (., ldy), one row per sequence of the step, += h_{t-1} M
    void recur(const Matrix<T>& M, T* y, long ldy) const {
        M.product(known, h(0), job.ld, y, ldy);
        M.product(n - known, h(known), job.H, y + known * ldy, ldy);
    }
    // Truncated BPTT: no gradient goes back from one window of `window` positions to the one read before it.
    bool cut() const { return job.window && known && (job.reversed ? t + 1 : t) % job.window == 0; }
};

template <class T, class F> static void read(const Job<T>& job, F&& f) {
    for (long i = job.begin; i < job.end; i++) {
        const Step<T> s(job, job.reversed ? job.steps - 1 - i : i);
        f(s);
    }
}

template <class T, class F> static void unread(const Job<T>& job, F&& f) {
    const long H = job.H;
    for (long i = job.end - 1; i >= job.begin; i--) {
        const Step<T> s(job, job.reversed ? job.steps - 1 - i : i);
        f(s);
        if (s.cut()) {
            memset(job.dh, 0, sizeof(T) * H * s.known);
            if (job.dC) memset(job.dC, 0, sizeof(T) * H * s.known);
        }
    }
}

// |x|. In double, whatever T: the square of a float is 0 below 1e-23, where a gradient that vanishes is looked for.
template <class T> INLINE T norm(const T* x, long H) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long j = 0; j < H; j++) sum += double(x[j]) * double(x[j]);
    return T(std::sqrt(sum));
}

// dh <- dL/dh_t of sequence r: what came back through time plus what comes from above
template <class T> INLINE T* arrive(const Step<T>& s, long r) {
    const Job<T>& job = s.job;
    const long H = job.H;
    T* dh = job.dh + r * H;
    const T* above = job.dout + s.at(r) * job.ldd;
    EACH dh[j] += above[j];
    if (job.norm_h) job.norm_h[s.at(r)] = norm(dh, H);
    return dh;
}
