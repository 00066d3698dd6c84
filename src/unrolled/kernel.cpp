// The recurrences of cells.py over a whole batch: forward, and explicit back-propagation through time.
//
// A batch is packed: time-major, sequences by falling length, so that step t is rows first[t] .. first[t + 1] and
// nothing is computed for padding. Row r of every step is the same sequence; a job takes the sequences lo .. hi, so
// jobs share nothing but weights and can run side by side. In reading order the step before t is t - 1, or t + 1
// where the sequences are read backwards; a row which that step does not have starts from the initial state.
//
// Compiled once for each instruction set (setup.py); kernel.py loads the one that fits the processor. Plain C calling
// convention, no Python, no allocation but the scratch space of a call. Without -ffast-math: NaN, infinities and
// denormal numbers behave as they do everywhere else.

#include <cmath>
#include <cstdlib>
#include <cstring>

#if defined(__AVX512F__)
enum { BYTES = 64, VECTORS = 2, ROWS = 4 };  // registers that accumulate: 8 of 32
#elif defined(__AVX__)
enum { BYTES = 32, VECTORS = 2, ROWS = 4 };  // 8 of 16, as many as two multipliers of four cycles keep busy
#elif defined(__aarch64__)
enum { BYTES = 16, VECTORS = 4, ROWS = 4 };  // 16 of 32
#else
enum { BYTES = 16, VECTORS = 2, ROWS = 4 };  // 8 of 16
#endif
#define INLINE static inline __attribute__((always_inline))
#define EACH _Pragma("omp simd") for (long j = 0; j < H; j++)

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
    enum { lanes = BYTES / sizeof(T), width = VECTORS * lanes };
};

// ---- Functions -----------------------------------------------------------------------------------------------------

// x P(x^2) / Q(x^2): within 2e-8 of tanh x (relative), fitted up to 9, where tanh rounds to 1. NaN stays NaN.
INLINE float tanh_(float x) {
    x = x > 9.0f ? 9.0f : x;
    x = x < -9.0f ? -9.0f : x;
    const float s = x * x;
    const float p = (((1.33534156e-08f * s + 2.06081855e-05f) * s + 3.49553451e-03f) * s + 1.33809811e-01f) * s + 1.0f;
    const float q = (((7.77604788e-07f * s + 3.28554634e-04f) * s + 2.58767799e-02f) * s + 4.67142968e-01f) * s + 1.0f;
    return x * p / q;
}
INLINE float sigmoid(float x) { return 0.5f + 0.5f * tanh_(0.5f * x); }
INLINE double tanh_(double x) { return std::tanh(x); }
INLINE double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// ---- Products with a weight matrix, packed once into panels of `width` columns that stay in the first cache --------

// c (R, width) += a (R, K) b (K, width)
template <class T, int R> INLINE void tile(long K, const T* a, long lda, const T* b, T* c, long ldc) {
    typedef typename Vector<T>::type V;
    V sum[R][VECTORS];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < VECTORS; v++) sum[r][v] = *(const V*)(c + r * ldc + v * Vector<T>::lanes);
    for (long k = 0; k < K; k++, b += Vector<T>::width)
        for (int r = 0; r < R; r++)
            for (int v = 0; v < VECTORS; v++) sum[r][v] += a[r * lda + k] * *(const V*)(b + v * Vector<T>::lanes);
    for (int r = 0; r < R; r++)
        for (int v = 0; v < VECTORS; v++) *(V*)(c + r * ldc + v * Vector<T>::lanes) = sum[r][v];
}

template <class T, int R> static void tiles(long rows, long K, const T* a, long lda, const T* b, T* c, long ldc) {
    if (rows == R) return tile<T, R>(K, a, lda, b, c, ldc);
    if constexpr (R > 1) tiles<T, R - 1>(rows, K, a, lda, b, c, ldc);
}

template <class T> struct Matrix {  // (K, columns), element (k, c) of which is w[k * down + c * right]
    static constexpr long width = Vector<T>::width, block = 256;
    long K, columns;
    T* panels;
    Matrix(const T* w, long K, long columns, long down, long right) : K(K), columns(columns) {
        const long n = (columns + width - 1) / width * width;
        panels = (T*)malloc(sizeof(T) * K * n);
        for (long c = 0; c < n; c++)
            for (long k = 0; k < K; k++)
                panels[(c / width * K + k) * width + c % width] = c < columns ? w[k * down + c * right] : T(0);
    }
    ~Matrix() { free(panels); }

    // c (rows, columns) += a (rows, K) times this
    void product(long rows, const T* a, long lda, T* c, long ldc) const {
        for (long p = 0; p < columns; p += width)
            for (long k = 0; k < K; k += block) {
                const long depth = K - k < block ? K - k : block;
                for (long i = 0; i < rows; i += ROWS)
                    strip(rows - i < ROWS ? rows - i : ROWS, p, k, depth, a + i * lda + k, lda, c + i * ldc + p, ldc);
            }
    }
    void strip(long rows, long p, long k, long depth, const T* a, long lda, T* c, long ldc) const {
        const T* b = panels + p * K + k * width;
        if (columns - p >= width) return tiles<T, ROWS>(rows, depth, a, lda, b, c, ldc);
        T edge[ROWS * width];  // the last panel may be wider than what is left of c
        const size_t bytes = sizeof(T) * (columns - p);
        for (long r = 0; r < rows; r++) memcpy(edge + r * width, c + r * ldc, bytes);
        tiles<T, ROWS>(rows, depth, a, lda, b, edge, width);
        for (long r = 0; r < rows; r++) memcpy(c + r * ldc, edge + r * width, bytes);
    }
};

// ---- The walk over the steps ---------------------------------------------------------------------------------------

// Everything a call is given; which arrays a cell uses is said at the cell. All are row-major, (rows, width).
template <class T> struct Job {
    long steps, lo, hi, H, reversed, window, linear;
    const long* first;   // (steps + 1)
    T* a;                // (N, G H) pre-activations on entry, gates on exit; `out` itself for the RNN
    T* out;              // (N, .) h_t, `ld` apart
    T* cell;             // (N, H) C_t (LSTM)
    const T *W, *h0, *C0;  // (G H, H), (B, H), (B, H)
    const T* dout;       // (N, .) dL/dh_t from above, `ldd` apart
    T *da, *dh, *dC;     // (N, G H); (B, H) dL/dh_T on entry, dL/dh_0 on exit; likewise for C
    T *norm_h, *norm_C;  // (N) squared norms of dL/dh_t and dL/dC_t, or null
    T* reset;            // (N, H) r_t * h_{t-1} (GRU, reset before)
    long ld, ldd;
};

template <class T> struct Step {
    const Job<T>& job;
    long t, row, before, from, to, known;  // sequences from .. to; those below `known` have a step before

    Step(const Job<T>& job, long t) : job(job), t(t), row(job.first[t]), from(job.lo) {
        const long n = job.first[t + 1] - row, prev = job.reversed ? t + 1 : t - 1;
        const bool inside = prev >= 0 && prev < job.steps;
        before = inside ? job.first[prev] : 0;
        known = inside ? job.first[prev + 1] - before : 0;
        to = n < job.hi ? n : job.hi;
        known = known < to ? known : to;
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
        const long split = known > from ? known : from;
        if (split > from) M.product(split - from, h(from), job.ld, y + from * ldy, ldy);
        if (to > split) M.product(to - split, h(split), job.H, y + split * ldy, ldy);
    }
    // Truncated BPTT: no gradient goes back from one window of `window` positions to the one read before it.
    bool cut() const { return job.window && known > from && (job.reversed ? t + 1 : t) % job.window == 0; }
};

template <class T, class F> static void read(const Job<T>& job, F&& f) {
    for (long i = 0; i < job.steps; i++) {
        const Step<T> s(job, job.reversed ? job.steps - 1 - i : i);
        if (s.to > s.from) f(s);
    }
}

template <class T, class F> static void unread(const Job<T>& job, F&& f) {
    const long H = job.H;
    for (long i = job.steps - 1; i >= 0; i--) {
        const Step<T> s(job, job.reversed ? job.steps - 1 - i : i);
        if (s.to <= s.from) continue;
        f(s);
        if (s.cut()) {
            memset(job.dh + s.from * H, 0, sizeof(T) * H * (s.known - s.from));
            if (job.dC) memset(job.dC + s.from * H, 0, sizeof(T) * H * (s.known - s.from));
        }
    }
}

template <class T> INLINE T squared(const T* x, long H) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long j = 0; j < H; j++) sum += x[j] * x[j];
    return sum;
}

// dh <- dL/dh_t of sequence r: what came back through time plus what comes from above
template <class T> INLINE T* arrive(const Step<T>& s, long r) {
    const Job<T>& job = s.job;
    const long H = job.H;
    T* dh = job.dh + r * H;
    const T* above = job.dout + s.at(r) * job.ldd;
    EACH dh[j] += above[j];
    if (job.norm_h) job.norm_h[s.at(r)] = squared(dh, H);
    return dh;
}

// ---- The cells -----------------------------------------------------------------------------------------------------

// h_t = tanh(W_h h_{t-1} + a_t), or without tanh where `linear`
template <class T> static void rnn_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, H, 1, H);
    read(job, [&](const Step<T>& s) {
        s.recur(W, job.out + s.row * job.ld, job.ld);
        for (long r = s.from; r < s.to && !job.linear; r++) {
            T* h = job.out + s.at(r) * job.ld;
            EACH h[j] = tanh_(h[j]);
        }
    });
}

template <class T> static void rnn_backward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, H, H, 1);
    unread(job, [&](const Step<T>& s) {
        for (long r = s.from; r < s.to; r++) {
            T *dh = arrive(s, r), *da = job.da + s.at(r) * H;
            const T* h = job.out + s.at(r) * job.ld;
            if (job.linear) EACH da[j] = dh[j];
            else EACH da[j] = dh[j] * (1 - h[j] * h[j]);
            EACH dh[j] = 0;
        }
        W.product(s.to - s.from, job.da + s.at(s.from) * H, H, job.dh + s.from * H, H);
    });
}

// a = f, i, C~, o: C_t = f C_{t-1} + i C~, h_t = o tanh(C_t)
template <class T> static void lstm_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, 4 * H, 1, H);
    read(job, [&](const Step<T>& s) {
        s.recur(W, job.a + s.row * 4 * H, 4 * H);
        for (long r = s.from; r < s.to; r++) {
            T *f = job.a + s.at(r) * 4 * H, *i = f + H, *g = i + H, *o = g + H;
            T *C = job.cell + s.at(r) * H, *h = job.out + s.at(r) * job.ld;
            const T* before = s.C(r);
            EACH {
                f[j] = sigmoid(f[j]);
                i[j] = sigmoid(i[j]);
                g[j] = tanh_(g[j]);
                o[j] = sigmoid(o[j]);
                C[j] = f[j] * before[j] + i[j] * g[j];
                h[j] = o[j] * tanh_(C[j]);
            }
        }
    });
}

template <class T> static void lstm_backward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, 4 * H, H, H, 1);
    unread(job, [&](const Step<T>& s) {
        for (long r = s.from; r < s.to; r++) {
            T *dh = arrive(s, r), *dC = job.dC + r * H;
            const T *f = job.a + s.at(r) * 4 * H, *i = f + H, *g = i + H, *o = g + H;
            const T *C = job.cell + s.at(r) * H, *before = s.C(r);
            T *df = job.da + s.at(r) * 4 * H, *di = df + H, *dg = di + H, *d_o = dg + H;
            EACH {
                const T c = tanh_(C[j]), d = dC[j] + dh[j] * o[j] * (1 - c * c);
                d_o[j] = dh[j] * c * o[j] * (1 - o[j]);
                df[j] = d * before[j] * f[j] * (1 - f[j]);
                di[j] = d * g[j] * i[j] * (1 - i[j]);
                dg[j] = d * i[j] * (1 - g[j] * g[j]);
                dh[j] = 0;
                dC[j] = d;
            }
            if (job.norm_C) job.norm_C[s.at(r)] = squared(dC, H);
            EACH dC[j] *= f[j];
        }
        W.product(s.to - s.from, job.da + s.at(s.from) * 4 * H, 4 * H, job.dh + s.from * H, H);
    });
}

// a = r, z, h~: h~ = tanh(W_h [r h_{t-1}, x_t] + b_h), h_t = z h_{t-1} + (1 - z) h~
template <class T> static void gru_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> gates(job.W, H, 2 * H, 1, H), W(job.W + 2 * H * H, H, H, 1, H);
    read(job, [&](const Step<T>& s) {
        s.recur(gates, job.a + s.row * 3 * H, 3 * H);
        for (long r = s.from; r < s.to; r++) {
            T *reset = job.a + s.at(r) * 3 * H, *z = reset + H, *kept = job.reset + s.at(r) * H;
            const T* before = s.h(r);
            EACH {
                reset[j] = sigmoid(reset[j]);
                z[j] = sigmoid(z[j]);
                kept[j] = reset[j] * before[j];
            }
        }
        W.product(s.to - s.from, job.reset + s.at(s.from) * H, H, job.a + s.at(s.from) * 3 * H + 2 * H, 3 * H);
        for (long r = s.from; r < s.to; r++) {
            T *z = job.a + s.at(r) * 3 * H + H, *n = z + H, *h = job.out + s.at(r) * job.ld;
            const T* before = s.h(r);
            EACH {
                n[j] = tanh_(n[j]);
                h[j] = z[j] * before[j] + (1 - z[j]) * n[j];
            }
        }
    });
}

template <class T> static void gru_backward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> gates(job.W, 2 * H, H, H, 1), W(job.W + 2 * H * H, H, H, H, 1);
    T* dkept = (T*)malloc(sizeof(T) * H * job.hi);  // dL/d(r h_{t-1})
    unread(job, [&](const Step<T>& s) {
        for (long r = s.from; r < s.to; r++) {
            T *dh = arrive(s, r), *dz = job.da + s.at(r) * 3 * H + H, *dn = dz + H, *d = dkept + r * H;
            const T *z = job.a + s.at(r) * 3 * H + H, *n = z + H, *before = s.h(r);
            EACH {
                dz[j] = dh[j] * (before[j] - n[j]) * z[j] * (1 - z[j]);
                dn[j] = dh[j] * (1 - z[j]) * (1 - n[j] * n[j]);
                dh[j] *= z[j];
                d[j] = 0;
            }
        }
        W.product(s.to - s.from, job.da + s.at(s.from) * 3 * H + 2 * H, 3 * H, dkept + s.from * H, H);
        for (long r = s.from; r < s.to; r++) {
            T *dh = job.dh + r * H, *dr = job.da + s.at(r) * 3 * H, *d = dkept + r * H;
            const T *reset = job.a + s.at(r) * 3 * H, *before = s.h(r);
            EACH {
                dr[j] = d[j] * before[j] * reset[j] * (1 - reset[j]);
                dh[j] += d[j] * reset[j];
            }
        }
        gates.product(s.to - s.from, job.da + s.at(s.from) * 3 * H, 3 * H, job.dh + s.from * H, H);
    });
    free(dkept);
}

// The reset gate after the product. a = q, r, z, h~ with q = W_h h_{t-1} + b_q: h~ = tanh(r q + W_x x_t + b)
template <class T> static void gru_after_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, 3 * H, 1, H);
    read(job, [&](const Step<T>& s) {
        s.recur(W, job.a + s.row * 4 * H, 4 * H);
        for (long r = s.from; r < s.to; r++) {
            T *q = job.a + s.at(r) * 4 * H, *reset = q + H, *z = reset + H, *n = z + H, *h = job.out + s.at(r) * job.ld;
            const T* before = s.h(r);
            EACH {
                reset[j] = sigmoid(reset[j]);
                z[j] = sigmoid(z[j]);
                n[j] = tanh_(n[j] + reset[j] * q[j]);
                h[j] = z[j] * before[j] + (1 - z[j]) * n[j];
            }
        }
    });
}

template <class T> static void gru_after_backward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, 3 * H, H, H, 1);
    unread(job, [&](const Step<T>& s) {
        for (long r = s.from; r < s.to; r++) {
            T *dh = arrive(s, r), *dq = job.da + s.at(r) * 4 * H, *dr = dq + H, *dz = dr + H, *dn = dz + H;
            const T *q = job.a + s.at(r) * 4 * H, *reset = q + H, *z = reset + H, *n = z + H, *before = s.h(r);
            EACH {
                const T d = dh[j] * (1 - z[j]) * (1 - n[j] * n[j]);
                dn[j] = d;
                dq[j] = d * reset[j];
                dr[j] = d * q[j] * reset[j] * (1 - reset[j]);
                dz[j] = dh[j] * (before[j] - n[j]) * z[j] * (1 - z[j]);
                dh[j] *= z[j];
            }
        }
        W.product(s.to - s.from, job.da + s.at(s.from) * 4 * H, 4 * H, job.dh + s.from * H, H);
    });
}

// a = f, u: h_t = f h_{t-1} + u, the recurrence of minGRU and minLSTM, whose gates do not see h_{t-1}
template <class T> static void linear_forward(const Job<T>& job) {
    const long H = job.H;
    read(job, [&](const Step<T>& s) {
        for (long r = s.from; r < s.to; r++) {
            const T *f = job.a + s.at(r) * 2 * H, *u = f + H, *before = s.h(r);
            T* h = job.out + s.at(r) * job.ld;
            EACH h[j] = f[j] * before[j] + u[j];
        }
    });
}

template <class T> static void linear_backward(const Job<T>& job) {
    const long H = job.H;
    unread(job, [&](const Step<T>& s) {
        for (long r = s.from; r < s.to; r++) {
            T *dh = arrive(s, r), *df = job.da + s.at(r) * 2 * H, *du = df + H;
            const T *f = job.a + s.at(r) * 2 * H, *before = s.h(r);
            EACH {
                du[j] = dh[j];
                df[j] = dh[j] * before[j];
                dh[j] *= f[j];
            }
        }
    });
}

#define EXPORT(name)                                                                  \
    extern "C" void name##_float(const Job<float>* job) { name(*job); }               \
    extern "C" void name##_double(const Job<double>* job) { name(*job); }
EXPORT(rnn_forward) EXPORT(rnn_backward) EXPORT(lstm_forward) EXPORT(lstm_backward)
EXPORT(gru_forward) EXPORT(gru_backward) EXPORT(gru_after_forward) EXPORT(gru_after_backward)
EXPORT(linear_forward) EXPORT(linear_backward)
