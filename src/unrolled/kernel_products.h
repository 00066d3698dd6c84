// What the walks of kernel.cpp compute with: vectors, squashing functions, products with a weight matrix.

#pragma once

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

// x P(x^2) / Q(x^2): within 2e-8 of tanh x (relative), fitted up to 9, where tanh rounds to 1. NaN stays NaN, and what
// rounding put beyond 1 comes back to it: else a gate could be negative.
INLINE float tanh_(float x) {
    x = x > 9.0f ? 9.0f : x;
    x = x < -9.0f ? -9.0f : x;
    const float s = x * x;
    const float p = (((1.33534156e-08f * s + 2.06081855e-05f) * s + 3.49553451e-03f) * s + 1.33809811e-01f) * s + 1.0f;
    const float q = (((7.77604788e-07f * s + 3.28554634e-04f) * s + 2.58767799e-02f) * s + 4.67142968e-01f) * s + 1.0f;
    const float y = x * p / q;
    return y > 1.0f ? 1.0f : y < -1.0f ? -1.0f : y;
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
    const long K, columns;
    T* const panels;  // space for them; they are there already unless this is the `first` call that has it
    Matrix(const T* w, long K, long columns, long down, long right, T* panels, bool first)
        : K(K), columns(columns), panels(panels) {
        for (long c = 0; first && c < (end() - panels) / K; c++)
            for (long k = 0; k < K; k++)
                panels[(c / width * K + k) * width + c % width] = c < columns ? w[k * down + c * right] : T(0);
    }
    T* end() const { return panels + (columns + width - 1) / width * width * K; }

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
