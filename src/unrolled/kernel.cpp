// The recurrences of cells.py over a whole batch: forward, and explicit back-propagation through time.
//
// A batch is packed: time-major, sequences by falling length, so that step t is rows first[t] .. first[t + 1] and
// nothing is computed for padding. Row r of every step is the same sequence; a job takes the sequences lo .. hi, so
// jobs share nothing but weights and can run side by side. In reading order the step before t is t - 1, or t + 1
// where the sequences are read backwards; a row which that step does not have starts from the initial state.
//
// Compiled once for each instruction set (setup.py); kernel.py loads the one that fits the processor. Plain C calling
// convention, no Python. A batch is gone over in one call or, a few steps at a time, in several, so that what there is
// to do with these steps besides is done while the cache still holds them. Without -ffast-math: NaN, infinities and
// denormal numbers behave as they do everywhere else.

#include "kernel_walk.h"

// h_t = tanh(W_h h_{t-1} + a_t), or without tanh where `linear`
template <class T> static void rnn_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, H, 1, H, job.scratch, job.fresh);
    read(job, [&](const Step<T>& s) {
        s.recur(W, job.out + s.row * job.ld, job.ld);
        for (long r = 0; r < s.n && !job.linear; r++) {
            T* h = job.out + s.at(r) * job.ld;
            EACH h[j] = tanh_(h[j]);
        }
    });
}

template <class T> static void rnn_backward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, H, H, 1, job.scratch, job.fresh);
    unread(job, [&](const Step<T>& s) {
        for (long r = 0; r < s.n; r++) {
            T *dh = arrive(s, r), *da = job.da + s.at(r) * H;
            const T* h = job.out + s.at(r) * job.ld;
            if (job.linear) EACH da[j] = dh[j];
            else EACH da[j] = dh[j] * (1 - h[j] * h[j]);
            EACH dh[j] = 0;
        }
        W.product(s.n, job.da + s.row * H, H, job.dh, H);
    });
}

// a = f, i, C~, o: C_t = f C_{t-1} + i C~, h_t = o tanh(C_t)
template <class T> static void lstm_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, 4 * H, 1, H, job.scratch, job.fresh);
    read(job, [&](const Step<T>& s) {
        s.recur(W, job.a + s.row * 4 * H, 4 * H);
        for (long r = 0; r < s.n; r++) {
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
    const Matrix<T> W(job.W, 4 * H, H, H, 1, job.scratch, job.fresh);
    unread(job, [&](const Step<T>& s) {
        for (long r = 0; r < s.n; r++) {
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
            if (job.norm_C) job.norm_C[s.at(r)] = norm(dC, H);
            EACH dC[j] *= f[j];
        }
        W.product(s.n, job.da + s.row * 4 * H, 4 * H, job.dh, H);
    });
}

// a = r, z, h~: h~ = tanh(W_h [r h_{t-1}, x_t] + b_h), h_t = z h_{t-1} + (1 - z) h~
template <class T> static void gru_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> gates(job.W, H, 2 * H, 1, H, job.scratch, job.fresh);
    const Matrix<T> W(job.W + 2 * H * H, H, H, 1, H, gates.end(), job.fresh);
    read(job, [&](const Step<T>& s) {
        s.recur(gates, job.a + s.row * 3 * H, 3 * H);
        for (long r = 0; r < s.n; r++) {
            T *reset = job.a + s.at(r) * 3 * H, *z = reset + H, *kept = job.reset + s.at(r) * H;
            const T* before = s.h(r);
            EACH {
                reset[j] = sigmoid(reset[j]);
                z[j] = sigmoid(z[j]);
                kept[j] = reset[j] * before[j];
            }
        }
        W.product(s.n, job.reset + s.row * H, H, job.a + s.row * 3 * H + 2 * H, 3 * H);
        for (long r = 0; r < s.n; r++) {
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
    const Matrix<T> gates(job.W, 2 * H, H, H, 1, job.scratch, job.fresh);
    const Matrix<T> W(job.W + 2 * H * H, H, H, H, 1, gates.end(), job.fresh);
    T* const dkept = W.end();  // (B, H) dL/d(r h_{t-1})
    unread(job, [&](const Step<T>& s) {
        for (long r = 0; r < s.n; r++) {
            T *dh = arrive(s, r), *dz = job.da + s.at(r) * 3 * H + H, *dn = dz + H, *d = dkept + r * H;
            const T *z = job.a + s.at(r) * 3 * H + H, *n = z + H, *before = s.h(r);
            EACH {
                dz[j] = dh[j] * (before[j] - n[j]) * z[j] * (1 - z[j]);
                dn[j] = dh[j] * (1 - z[j]) * (1 - n[j] * n[j]);
                dh[j] *= z[j];
                d[j] = 0;
            }
        }
        W.product(s.n, job.da + s.row * 3 * H + 2 * H, 3 * H, dkept, H);
        for (long r = 0; r < s.n; r++) {
            T *dh = job.dh + r * H, *dr = job.da + s.at(r) * 3 * H, *d = dkept + r * H;
            const T *reset = job.a + s.at(r) * 3 * H, *before = s.h(r);
            EACH {
                dr[j] = d[j] * before[j] * reset[j] * (1 - reset[j]);
                dh[j] += d[j] * reset[j];
            }
        }
        gates.product(s.n, job.da + s.row * 3 * H, 3 * H, job.dh, H);
    });
}

// The reset gate after the product. a = q, r, z, h~ with q = W_h h_{t-1} + b_q: h~ = tanh(r q + W_x x_t + b)
template <class T> static void gru_after_forward(const Job<T>& job) {
    const long H = job.H;
    const Matrix<T> W(job.W, H, 3 * H, 1, H, job.scratch, job.fresh);
    read(job, [&](const Step<T>& s) {
        s.recur(W, job.a + s.row * 4 * H, 4 * H);
        for (long r = 0; r < s.n; r++) {
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
    const Matrix<T> W(job.W, 3 * H, H, H, 1, job.scratch, job.fresh);
    unread(job, [&](const Step<T>& s) {
        for (long r = 0; r < s.n; r++) {
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
        W.product(s.n, job.da + s.row * 4 * H, 4 * H, job.dh, H);
    });
}

// a = f, u: h_t = f h_{t-1} + u, the recurrence of minGRU and minLSTM, whose gates do not see h_{t-1}
template <class T> static void linear_forward(const Job<T>& job) {
    const long H = job.H;
    read(job, [&](const Step<T>& s) {
        for (long r = 0; r < s.n; r++) {
            const T *f = job.a + s.at(r) * 2 * H, *u = f + H, *before = s.h(r);
            T* h = job.out + s.at(r) * job.ld;
            EACH h[j] = f[j] * before[j] + u[j];
        }
    });
}

template <class T> static void linear_backward(const Job<T>& job) {
    const long H = job.H;
    unread(job, [&](const Step<T>& s) {
        for (long r = 0; r < s.n; r++) {
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

// y (., H) += x (n, H), `ld` apart: each row to that of its index, in their order
template <class T> static void add_rows(const long* index, const T* x, long n, long ld, long H, T* y) {
    for (long r = 0; r < n; r++) {
        const T* from = x + r * ld;
        T* to = y + index[r] * H;
        EACH to[j] += from[j];
    }
}
extern "C" void add_rows_float(const long* index, const float* x, long n, long ld, long H, float* y) {
    add_rows(index, x, n, ld, H, y);
}
extern "C" void add_rows_double(const long* index, const double* x, long n, long ld, long H, double* y) {
    add_rows(index, x, n, ld, H, y);
}

// What kernel.py compares with the sources beside it, lest an older library computes, or misreads a job.
extern "C" unsigned long long kernel_sources() { return SOURCES; }
