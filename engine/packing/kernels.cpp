// Kernels of packed execution on a CPU: attention text by text, residual sum and norm in one pass, and linear layers
// over a few rows that read the weights in oneDNN's layout. All arithmetic is fp32, except products of bf16 pairs, which
// are summed in fp32 (AVX512-BF16). engine/packing/kernels.py calls the functions and says what they support.
//
// Vectors use GCC's vector extension: sixteen floats, for which the compiler uses the registers that the processor has.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <omp.h>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
constexpr int LINE = 64;  // bytes of a cache line
typedef float vec __attribute__((vector_size(64)));
typedef float loose_vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t int_vec __attribute__((vector_size(64)));
typedef uint32_t bits_vec __attribute__((vector_size(64)));
typedef uint16_t loose_half_vec __attribute__((vector_size(32), aligned(2), may_alias));

struct bf16 {
    uint16_t bits;
};

inline vec load(const float* from) { return *reinterpret_cast<const loose_vec*>(from); }

inline vec load(const bf16* from) {
    const loose_half_vec halves = *reinterpret_cast<const loose_half_vec*>(from);
    return reinterpret_cast<vec>(__builtin_convertvector(halves, bits_vec) << 16);
}

inline void store(float* to, vec values) { *reinterpret_cast<loose_vec*>(to) = values; }

// Rounds to nearest, ties to even. A NaN is not rounded, because that could turn it into an infinity.
inline void store(bf16* to, vec values) {
    const bits_vec bits = reinterpret_cast<bits_vec>(values);
    const bits_vec rounded = (bits + (0x7fffu + ((bits >> 16) & 1u))) >> 16;
    const bits_vec quiet = (bits >> 16) | 0x40u;
    *reinterpret_cast<loose_half_vec*>(to) = __builtin_convertvector(values == values ? rounded : quiet, loose_half_vec);
}

inline vec all(float value) { return vec{} + value; }
inline vec larger(vec a, vec b) { return a > b ? a : b; }

// clang needs constant lane numbers; GCC takes them as a vector.
#if defined(__clang__)
#define LANES_OF(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LANES_OF(a, b, ...) __builtin_shuffle(a, b, int_vec{__VA_ARGS__})
#endif

inline vec interleave_low(vec a, vec b) {
    return LANES_OF(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

inline vec interleave_high(vec a, vec b) {
    return LANES_OF(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Combines all lanes in four steps: `a` with its halves exchanged, then its quarters, eighths and sixteenths.
template <class Combine>
inline float folded(vec a, Combine combine) {
    a = combine(a, LANES_OF(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    a = combine(a, LANES_OF(a, a, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    a = combine(a, LANES_OF(a, a, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    a = combine(a, LANES_OF(a, a, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return a[0];
}

inline float sum(vec values) {
    return folded(values, [](vec a, vec b) { return a + b; });
}

inline float largest(vec values) { return folded(values, larger); }

// 2^x for x <= 0 with a relative error of about 1e-7: 2^n times the minimax polynomial of degree 6 on [-1/2, 1/2] (least
// relative error). NaN stays NaN.
inline vec power_of_two(vec x) {
    constexpr float ROUNDS = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    x = x < -125.0f ? all(-125.0f) : x;
    const vec shifted = x + ROUNDS;
    const vec r = x - (shifted - ROUNDS);
    vec p = all(1.5345721533e-4f);
    p = p * r + 1.3400051297e-3f;
    p = p * r + 9.6184909551e-3f;
    p = p * r + 5.5503283446e-2f;
    p = p * r + 2.4022646839e-1f;
    p = p * r + 6.9314720608e-1f;
    p = p * r + 1.0f;
    // The lowest bits of `shifted` are the integer n, which is added to the exponent.
    return reinterpret_cast<vec>(reinterpret_cast<bits_vec>(p) + (reinterpret_cast<bits_vec>(shifted) << 23));
}

constexpr float LOG2_E = 1.44269504088896341f;

// e^x for x <= 0 with an absolute error below 1e-7.
inline vec exponential(vec x) { return power_of_two(x * LOG2_E); }

enum Activation { NONE = 0, RELU = 1, GELU = 2, GELU_TANH = 3 };

// x Phi(x), with erf from Abramowitz and Stegun 7.1.26 (error at most 1.5e-7).
inline vec gelu(vec x) {
    const vec z = x * 0.70710678118654752f;
    const vec distance = z < 0.0f ? -z : z;
    const vec t = 1.0f / (1.0f + 0.3275911f * distance);
    vec p = all(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const vec erf = 1.0f - p * t * exponential(-distance * distance);
    return 0.5f * x * (1.0f + (z < 0.0f ? -erf : erf));
}

// x (1 + tanh u) / 2 = x / (1 + e^-2u), written so that no exponent is positive.
inline vec gelu_tanh(vec x) {
    const vec twice_u = 1.5957691216057308f * (x + 0.044715f * x * x * x);
    const vec e = exponential(twice_u < 0.0f ? twice_u : -twice_u);
    return x * (twice_u < 0.0f ? e : all(1.0f)) / (1.0f + e);
}

inline vec activated(vec x, int activation) {
    switch (activation) {
        case RELU: return x < 0.0f ? vec{} : x;
        case GELU: return gelu(x);
        case GELU_TANH: return gelu_tanh(x);
        default: return x;
    }
}

// ------------------------------------------------------------------------------------------------- attention

constexpr int QUERIES = 6;               // queries that are scored together
constexpr int64_t CHUNK = 20 * QUERIES;  // queries of one text and head in one piece of work
// How many vectors of keys and of value columns each query meets at once. Their sums fill 12 and 24 of the 32 registers
// of AVX-512. A processor without AVX-512 has 16 registers of half the size or less: there one vector is two registers.
#if defined(__AVX512F__)
constexpr int KEY_VECTORS = 2, VALUE_VECTORS = 4;
#else
constexpr int KEY_VECTORS = 1, VALUE_VECTORS = 1;
#endif

// One thread's copies for one text and head, in fp32: keys (D, padded length), values (length, D), QUERIES queries and
// their scores.
struct Scratch {
    std::vector<float> memory;
    float *keys, *values, *queries, *scores;

    void reserve(int64_t length, int64_t padded, int depth) {
        memory.resize(padded * depth + length * depth + QUERIES * depth + QUERIES * padded + LANES);
        const auto aligned = (reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t(63);
        keys = reinterpret_cast<float*>(aligned);
        values = keys + padded * depth;
        queries = values + length * depth;
        scores = queries + QUERIES * depth;
    }
};

// Transposes sixteen vectors: four rounds interleave each vector with the one eight places later.
inline void transpose(vec* rows) {
    vec mixed[LANES];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < LANES / 2; i++) {
            mixed[2 * i] = interleave_low(rows[i], rows[i + LANES / 2]);
            mixed[2 * i + 1] = interleave_high(rows[i], rows[i + LANES / 2]);
        }
        for (int i = 0; i < LANES; i++) rows[i] = mixed[i];
    }
}

// Keys of one head as columns, with zeros after the last one.
template <int D, class T>
void transpose_keys(const T* rows, int64_t stride, int64_t length, int64_t padded, float* keys) {
    for (int64_t first = 0; first < padded; first += LANES)
        for (int d = 0; d < D; d += LANES) {
            vec tile[LANES];
            for (int i = 0; i < LANES; i++) tile[i] = first + i < length ? load(rows + (first + i) * stride + d) : vec{};
            transpose(tile);
            for (int i = 0; i < LANES; i++) store(keys + (d + i) * padded + first, tile[i]);
        }
}

// Scores of VECTORS * LANES keys for M queries. `most` keeps each query's largest. `beyond` is added to the last vector.
template <int M, int D, int VECTORS>
inline void score_keys(const Scratch& s, int64_t padded, int64_t key, vec beyond, vec* most) {
    vec total[M][VECTORS] = {};
    for (int d = 0; d < D; d++) {
        vec column[VECTORS];
        for (int v = 0; v < VECTORS; v++) column[v] = load(s.keys + d * padded + key + v * LANES);
        for (int m = 0; m < M; m++) {
            const vec query = all(s.queries[m * D + d]);
            for (int v = 0; v < VECTORS; v++) total[m][v] += query * column[v];
        }
    }
    for (int m = 0; m < M; m++) {
        total[m][VECTORS - 1] += beyond;
        for (int v = 0; v < VECTORS; v++) {
            store(s.scores + m * padded + key + v * LANES, total[m][v]);
            most[m] = larger(total[m][v], most[m]);
        }
    }
}

// Scores of all keys, as exponents of 2. `beyond` is -infinity in the lanes of the last vector that have no key, else 0.
template <int M, int D>
void score(const Scratch& s, int64_t padded, vec beyond, vec* most) {
    constexpr int64_t STEP = KEY_VECTORS * LANES;
    int64_t key = 0;
    for (; key + STEP < padded; key += STEP) score_keys<M, D, KEY_VECTORS>(s, padded, key, vec{}, most);
    if (key + STEP == padded) score_keys<M, D, KEY_VECTORS>(s, padded, key, beyond, most);
    else score_keys<M, D, 1>(s, padded, key, beyond, most);
}

// Replaces scores by weights 2^(score - most). `scales` become 1 / (sum of weights), which `mix` multiplies by. The
// queries' sums are computed together, because the steps of one sum depend on each other.
template <int M>
void soften(float* scores, int64_t padded, const vec* most, float* scales) {
    vec shift[M], total[M] = {};
    for (int m = 0; m < M; m++) shift[m] = all(largest(most[m]));
    for (int m = 0; m < M; m++)
        for (float *at = scores + m * padded, *end = at + padded; at < end; at += LANES) {
            const vec weight = power_of_two(load(at) - shift[m]);
            store(at, weight);
            total[m] += weight;
        }
    for (int m = 0; m < M; m++) scales[m] = 1.0f / sum(total[m]);
}

template <int M, int D, class T>
void mix(const Scratch& s, int64_t length, int64_t padded, const float* scales, T* out, int64_t stride) {
    constexpr int COLUMNS = std::min(D, VALUE_VECTORS * LANES);
    for (int column = 0; column < D; column += COLUMNS) {
        vec total[M][COLUMNS / LANES] = {};
        for (int64_t key = 0; key < length; key++) {
            vec value[COLUMNS / LANES];
            for (int c = 0; c < COLUMNS / LANES; c++) value[c] = load(s.values + key * D + column + c * LANES);
            for (int m = 0; m < M; m++) {
                const vec weight = all(s.scores[m * padded + key]);
                for (int c = 0; c < COLUMNS / LANES; c++) total[m][c] += weight * value[c];
            }
        }
        for (int m = 0; m < M; m++)
            for (int c = 0; c < COLUMNS / LANES; c++)
                store(out + m * stride + column + c * LANES, total[m][c] * scales[m]);
    }
}

template <int M, int D, class T>
void attend_block(const Scratch& s, int64_t length, int64_t padded, T* out, int64_t stride) {
    float scales[M];
    vec most[M];
    for (int m = 0; m < M; m++) most[m] = all(-INFINITY);
    const int_vec lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vec beyond = lanes < int32_t(length - padded + LANES) ? vec{} : all(-INFINITY);
    score<M, D>(s, padded, beyond, most);
    soften<M>(s.scores, padded, most, scales);
    mix<M, D>(s, length, padded, scales, out, stride);
}

// The input and output of attention; the output's precision T may differ from the input's.
template <class From, class T>
struct Packed {
    const From *queries, *keys;
    int64_t query_stride, key_stride, heads;
    const int64_t* starts;  // row of each text's first token, then the number of rows
    T* out;  // (rows, heads * D)
};

// Prefetches rows of one head: their stride is too large for the processor's own prefetching.
template <int D, class From>
void fetch_rows(const From* rows, int64_t stride, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t at = 0; at < D; at += LINE / int64_t(sizeof(From))) __builtin_prefetch(rows + i * stride + at, 0, 2);
}

template <int D, class From, class T>
void attend(const Packed<From, T>& batch, int64_t text, int64_t head, int64_t first, Scratch& s) {
    const int64_t start = batch.starts[text], length = batch.starts[text + 1] - start, width = batch.heads * D;
    const int64_t padded = (length + LANES - 1) / LANES * LANES;
    const int64_t row = start + first, queries = std::min(CHUNK, length - first);
    const From* keys = batch.keys + start * batch.key_stride + head * D;
    const From* rows = batch.queries + row * batch.query_stride + head * D;
    s.reserve(length, padded, D);
    if (head + 1 < batch.heads) {
        fetch_rows<D>(keys + D, batch.key_stride, length);
        fetch_rows<D>(keys + width + D, batch.key_stride, length);
        fetch_rows<D>(rows + D, batch.query_stride, queries);
    }
    transpose_keys<D>(keys, batch.key_stride, length, padded, s.keys);
    for (int64_t key = 0; key < length; key++)
        for (int d = 0; d < D; d += LANES)
            store(s.values + key * D + d, load(keys + width + key * batch.key_stride + d));
    const float scale = LOG2_E / std::sqrt(float(D));
    for (int64_t query = 0; query < queries; query += QUERIES) {
        const int m = int(std::min<int64_t>(QUERIES, queries - query));
        for (int i = 0; i < m; i++)
            for (int d = 0; d < D; d += LANES)
                store(s.queries + i * D + d, load(rows + (query + i) * batch.query_stride + d) * scale);
        T* out = batch.out + (row + query) * width + head * D;
        switch (m) {
            case 1: attend_block<1, D>(s, length, padded, out, width); break;
            case 2: attend_block<2, D>(s, length, padded, out, width); break;
            case 3: attend_block<3, D>(s, length, padded, out, width); break;
            case 4: attend_block<4, D>(s, length, padded, out, width); break;
            case 5: attend_block<5, D>(s, length, padded, out, width); break;
            default: attend_block<QUERIES, D>(s, length, padded, out, width);
        }
    }
}

struct Piece {
    int64_t text, head, first;
};

template <int D, class From, class T>
void attention(const Packed<From, T>& batch, int64_t texts, int threads) {
    std::vector<Piece> pieces;
    for (int64_t text = 0; text < texts; text++)
        for (int64_t first = 0; first < batch.starts[text + 1] - batch.starts[text]; first += CHUNK)
            for (int64_t head = 0; head < batch.heads; head++) pieces.push_back({text, head, first});
    const int64_t count = int64_t(pieces.size());
    // A thread takes a run of heads, because each head prefetches the next one's rows. Runs are short enough that no thread
    // waits long for the last one.
    const int64_t run = std::max<int64_t>(1, std::min(batch.heads, count / (8 * threads)));
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch;
#pragma omp for schedule(dynamic, run)
        for (int64_t i = 0; i < count; i++) attend<D>(batch, pieces[i].text, pieces[i].head, pieces[i].first, scratch);
    }
}

template <class From, class T>
void attention_of_depth(const Packed<From, T>& batch, int64_t depth, int64_t texts, int threads) {
    switch (depth) {
        case 16: attention<16>(batch, texts, threads); break;
        case 32: attention<32>(batch, texts, threads); break;
        case 64: attention<64>(batch, texts, threads); break;
        case 128: attention<128>(batch, texts, threads); break;
        default: break;  // Python calls with the depths above only (DEPTHS in kernels.py)
    }
}

// ----------------------------------------------------------------------------------------- residual and norm

constexpr int64_t ALONE = 16384;  // up to so many values, one thread is faster than several

struct Norm {
    const float *weight, *bias;  // null if it has none
    float eps;
};

// row += added, if given; out = the row's layer norm in T. If `replace`, the row becomes its norm too.
template <class Added, class T>
void add_and_norm_row(float* row, const Added* added, int64_t width, const Norm& norm, bool replace, T* out) {
    vec total{}, squares{};
    for (int64_t c = 0; c < width; c += LANES) {
        vec value = load(row + c);
        if (added) {
            value += load(added + c);
            store(row + c, value);
        }
        total += value;
    }
    const vec mean = all(sum(total) / float(width));
    for (int64_t c = 0; c < width; c += LANES) {
        const vec difference = load(row + c) - mean;
        squares += difference * difference;
    }
    const vec scale = all(1.0f / std::sqrt(sum(squares) / float(width) + norm.eps));
    for (int64_t c = 0; c < width; c += LANES) {
        vec value = (load(row + c) - mean) * scale;
        if (norm.weight) value *= load(norm.weight + c);
        if (norm.bias) value += load(norm.bias + c);
        if (replace) store(row + c, value);
        if (out) store(out + c, value);
    }
}

template <class T>
void add_and_norm(float* rows, const T* added, int64_t count, int64_t width, const Norm& norm, bool replace, T* out,
                  int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (count * width > ALONE)
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = i * width;
        add_and_norm_row(rows + at, added ? added + at : nullptr, width, norm, replace, out ? out + at : nullptr);
    }
}

// ------------------------------------------------------------------------------------- linear layers of few rows
//
// For AVX-512 only: elsewhere oneDNN lays weights out in another way, and Python calls none of what follows.
#if defined(__AVX512F__)
//
// For a few rows, reading the weights takes as long as multiplying them. While one stretch of a panel is multiplied, the
// stretch two places later is prefetched, spread evenly over the products, so that the two overlap. Each stretch is
// summed separately, which keeps rounding errors small.

constexpr int PANEL = 64;      // columns that oneDNN stores side by side
constexpr int ROWS = 6;        // rows at once: with four vectors each they fill 24 registers
constexpr int MOST_ROWS = 32;
constexpr int STRETCH = 64, AHEAD = 128;  // inputs in a stretch, and how many inputs ahead are prefetched

// What to prefetch while a stretch is multiplied: `LINES` cache lines at `next`, which moves by `step` bytes an input.
struct Fetch {
    const char* next;
    int64_t step;
};

template <int LINES>
inline void fetch(const char* from) {
    for (int line = 0; line < LINES; line++) __builtin_prefetch(from + line * LINE, 0, 2);
}

template <int M, int LINES>
void multiply(const float* x, int64_t inputs, const float* panel, int64_t length, Fetch ahead, float* sums) {
    vec total[M][4] = {};
    for (int64_t k = 0; k < length; k++, ahead.next += ahead.step) {
        vec weight[4];
        for (int c = 0; c < 4; c++) weight[c] = load(panel + k * PANEL + c * LANES);
        fetch<LINES>(ahead.next);
        for (int m = 0; m < M; m++) {
            const vec value = all(x[m * inputs + k]);
            for (int c = 0; c < 4; c++) total[m][c] += value * weight[c];
        }
    }
    for (int m = 0; m < M; m++)
        for (int c = 0; c < 4; c++)
            store(sums + m * PANEL + c * LANES, load(sums + m * PANEL + c * LANES) + total[m][c]);
}

#if defined(__AVX512BF16__)
template <int M, int LINES>
void multiply(const bf16* x, int64_t inputs, const bf16* panel, int64_t length, Fetch ahead, float* sums) {
    __m512 total[M][4] = {};
    for (int64_t k = 0; k < length; k += 2, ahead.next += 2 * ahead.step) {
        __m512bh weight[4];
        for (int c = 0; c < 4; c++) weight[c] = (__m512bh)_mm512_loadu_si512(panel + k * PANEL + c * 2 * LANES);
        fetch<LINES>(ahead.next);
        for (int m = 0; m < M; m++) {
            int32_t pair;
            std::memcpy(&pair, x + m * inputs + k, sizeof pair);
            const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
            for (int c = 0; c < 4; c++) total[m][c] = _mm512_dpbf16_ps(total[m][c], value, weight[c]);
        }
    }
    for (int m = 0; m < M; m++)
        for (int c = 0; c < 4; c++)
            store(sums + m * PANEL + c * LANES, load(sums + m * PANEL + c * LANES) + (vec)total[m][c]);
}
#endif

template <int M, class T>
void multiply_and_fetch(int passes, const T* x, int64_t inputs, const T* panel, int64_t length, Fetch ahead, float* sums) {
    if (passes == 1) multiply<M, 4>(x, inputs, panel, length, ahead, sums);
    else if (passes <= 3) multiply<M, 2>(x, inputs, panel, length, ahead, sums);
    else multiply<M, 1>(x, inputs, panel, length, ahead, sums);
}

template <class T>
void multiply_rows(int m, int passes, const T* x, int64_t inputs, const T* panel, int64_t length, Fetch ahead, float* sums) {
    switch (m) {
        case 1: multiply_and_fetch<1>(passes, x, inputs, panel, length, ahead, sums); break;
        case 2: multiply_and_fetch<2>(passes, x, inputs, panel, length, ahead, sums); break;
        case 3: multiply_and_fetch<3>(passes, x, inputs, panel, length, ahead, sums); break;
        case 4: multiply_and_fetch<4>(passes, x, inputs, panel, length, ahead, sums); break;
        case 5: multiply_and_fetch<5>(passes, x, inputs, panel, length, ahead, sums); break;
        default: multiply_and_fetch<ROWS>(passes, x, inputs, panel, length, ahead, sums);
    }
}

// A linear layer (outputs, inputs): its weight in oneDNN's panels, its bias and activation.
template <class T>
struct Linear {
    const T* panels;
    const float* bias;  // null if it has none
    int64_t outputs, inputs;
    int activation;

    const T* panel(int64_t index) const { return panels + index * PANEL * inputs; }
};

// The part [first, last) of `count` items that a thread works on.
struct Share {
    int64_t first, last;

    Share(int64_t count, int thread, int threads) : first(count * thread / threads), last(count * (thread + 1) / threads) {}
};

// The panels of a linear layer that a thread works on.
template <class T>
Share panels_of(const Linear<T>& linear, int thread, int threads) {
    return Share(linear.outputs / PANEL, thread, threads);
}

// Some panels of a linear layer: x (rows, inputs) -> y with row stride `stride`. `behind` is the panel that the thread
// multiplies next; it is prefetched while the last panel is multiplied.
template <class T, class To>
void multiply_panels(const Linear<T>& linear, Share panels, const T* x, int64_t rows, To* y, int64_t stride,
                     const T* behind) {
    const int64_t inputs = linear.inputs, passes = (rows + ROWS - 1) / ROWS, each = (rows + passes - 1) / passes;
    const int64_t step = PANEL * sizeof(T) / passes;
    for (int64_t p = panels.first; p < panels.last; p++) {
        alignas(64) float sums[MOST_ROWS * PANEL];
        const T* panel = linear.panel(p);
        const T* next_panel = p + 1 < panels.last ? linear.panel(p + 1) : behind;
        const float* bias = linear.bias ? linear.bias + p * PANEL : nullptr;
        for (int64_t m = 0; m < rows; m++)
            for (int c = 0; c < PANEL; c += LANES) store(sums + m * PANEL + c, bias ? load(bias + c) : vec{});
        for (int64_t k = 0; k < inputs; k += STRETCH) {
            const int64_t length = std::min<int64_t>(STRETCH, inputs - k), there = k + AHEAD;
            const char* next = reinterpret_cast<const char*>(
                there < inputs ? panel + there * PANEL : next_panel + (there - inputs) * PANEL);
            for (int64_t m = 0, pass = 0; m < rows; m += each, pass++)
                multiply_rows(int(std::min(each, rows - m)), int(passes), x + m * inputs + k, inputs,
                              panel + k * PANEL, length, Fetch{next + pass * length * step, step}, sums + m * PANEL);
        }
        for (int64_t m = 0; m < rows; m++)
            for (int c = 0; c < PANEL; c += LANES)
                store(y + m * stride + p * PANEL + c, activated(load(sums + m * PANEL + c), linear.activation));
    }
}

template <class T>
void linear_layer(const Linear<T>& linear, const T* x, int64_t rows, T* y, int threads) {
#pragma omp parallel num_threads(threads)
    {
        const Share mine = panels_of(linear, omp_get_thread_num(), omp_get_num_threads());
        multiply_panels(linear, mine, x, rows, y, linear.outputs, linear.panel(mine.last));
    }
}

// --------------------------------------------------------------------------------- a whole encoder over few rows
//
// One team of threads computes all layers, which saves starting a team for each part. Each thread computes its share of
// every linear layer, and prefetches the first panel of the next one while it multiplies the last panel of this one. Only
// the inputs of linear layers are rounded to T: for so few rows, fp32 elsewhere costs little.

template <class T>
struct Layer {
    Linear<T> queries, keys_values;  // or all three in `queries`, and no outputs in `keys_values`
    Linear<T> out, up, down;
    Norm norm1, norm2;
    int norm_first;
};

// The state of a batch between the layers.
template <class T>
struct BatchState {
    float* rows;  // (count, width): the residual stream
    int64_t count, width, heads;
    const int64_t* starts;
    int64_t texts;
    float *projected, *added;  // fp32 results within a layer
    T *x, *mixed, *inner;      // inputs of linear layers

    int64_t memory(int64_t inner_width) const { return count * (6 * width + inner_width); }

    void place_in(float* memory) {
        projected = memory;
        added = projected + count * 3 * width;
        x = reinterpret_cast<T*>(added + count * width);
        mixed = x + count * width;
        inner = mixed + count * width;
    }
};

// Keeps each text's first row only. In this order no row is overwritten before it is read.
template <class T>
void keep_firsts(BatchState<T>& batch) {
    for (int64_t text = 0; text < batch.texts; text++) {
        const int64_t to = text * batch.width, from = batch.starts[text] * batch.width;
        std::copy_n(batch.rows + from, batch.width, batch.rows + to);
        std::copy_n(batch.mixed + from, batch.width, batch.mixed + to);
    }
}

// One thread's part of a layer. `firsts`: after attention, keep each text's first row only. `behind`: the next layer's
// first linear layer, to prefetch.
template <int D, class T>
void pass_layer(const Layer<T>& layer, BatchState<T> batch, bool firsts, const Linear<T>* behind, Scratch& scratch) {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int64_t width = batch.width, stride = layer.queries.outputs + layer.keys_values.outputs;
    const auto share = [=](const Linear<T>& linear) { return panels_of(linear, thread, threads); };
    const auto first_panel = [=](const Linear<T>& linear) { return linear.panel(share(linear).first); };
    const auto multiply = [&](const Linear<T>& linear, const T* from, auto* to, int64_t apart, const T* next) {
        multiply_panels(linear, share(linear), from, batch.count, to, apart, next);
    };
    const auto norm = [&](const Norm& norm, const float* added, bool replace) {
        const Share mine(batch.count, thread, threads);
        for (int64_t at = mine.first * width; at < mine.last * width; at += width)
            add_and_norm_row(batch.rows + at, added ? added + at : nullptr, width, norm, replace, batch.x + at);
    };

    if (layer.norm_first) {
        norm(layer.norm1, nullptr, false);
#pragma omp barrier
    }
    const bool apart = layer.keys_values.outputs > 0;
    multiply(layer.queries, batch.x, batch.projected, stride,
             first_panel(apart ? layer.keys_values : layer.out));
    if (apart) multiply(layer.keys_values, batch.x, batch.projected + width, stride, first_panel(layer.out));
#pragma omp barrier
    const Packed<float, T> packed{
        batch.projected, batch.projected + width, stride, stride, batch.heads, batch.starts, batch.mixed};
    const Share pieces(batch.texts * batch.heads, thread, threads);
    for (int64_t i = pieces.first; i < pieces.last; i++) attend<D>(packed, i / batch.heads, i % batch.heads, 0, scratch);
#pragma omp barrier
    if (firsts) {
#pragma omp single
        keep_firsts(batch);
        batch.count = batch.texts;
    }
    multiply(layer.out, batch.mixed, batch.added, width, first_panel(layer.up));
#pragma omp barrier
    norm(layer.norm_first ? layer.norm2 : layer.norm1, batch.added, !layer.norm_first);
#pragma omp barrier
    multiply(layer.up, batch.x, batch.inner, layer.up.outputs, first_panel(layer.down));
#pragma omp barrier
    multiply(layer.down, batch.inner, batch.added, width, first_panel(behind ? *behind : layer.down));
#pragma omp barrier
    if (layer.norm_first) {
        const Share mine(batch.count * width / LANES, thread, threads);
        for (int64_t at = mine.first * LANES; at < mine.last * LANES; at += LANES)
            store(batch.rows + at, load(batch.rows + at) + load(batch.added + at));
    } else {
        norm(layer.norm2, batch.added, true);
    }
#pragma omp barrier
}

template <int D, class T>
void encode(const Layer<T>* layers, int64_t count, BatchState<T> batch, bool firsts, int threads) {
    static thread_local std::vector<float> memory;
    int64_t widest = 0;
    for (int64_t l = 0; l < count; l++) widest = std::max(widest, layers[l].up.outputs);
    const auto needed = size_t(batch.memory(widest));
    if (memory.size() < needed) memory.resize(needed);
    batch.place_in(memory.data());
    for (int64_t i = 0; i < batch.count * batch.width; i += LANES) store(batch.x + i, load(batch.rows + i));
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch;
        for (int64_t l = 0; l < count; l++)
            pass_layer<D>(layers[l], batch, firsts && l + 1 == count, l + 1 < count ? &layers[l + 1].queries : nullptr,
                          scratch);
    }
}

template <class T>
void encode_of_depth(const Layer<T>* layers, int64_t count, const BatchState<T>& batch, bool firsts, int threads) {
    switch (batch.width / batch.heads) {
        case 16: encode<16>(layers, count, batch, firsts, threads); break;
        case 32: encode<32>(layers, count, batch, firsts, threads); break;
        case 64: encode<64>(layers, count, batch, firsts, threads); break;
        case 128: encode<128>(layers, count, batch, firsts, threads); break;
        default: break;  // Python calls with the depths above only (DEPTHS in kernels.py)
    }
}

#endif  // __AVX512F__

}  // namespace

extern "C" {

void attention_fp32(const float* queries, int64_t query_stride, const float* keys, int64_t key_stride, int64_t heads,
                   int64_t depth, const int64_t* starts, int64_t texts, float* out, int threads) {
    attention_of_depth(
        Packed<float, float>{queries, keys, query_stride, key_stride, heads, starts, out}, depth, texts, threads);
}

void attention_bf16(const bf16* queries, int64_t query_stride, const bf16* keys, int64_t key_stride, int64_t heads,
                   int64_t depth, const int64_t* starts, int64_t texts, bf16* out, int threads) {
    attention_of_depth(
        Packed<bf16, bf16>{queries, keys, query_stride, key_stride, heads, starts, out}, depth, texts, threads);
}

void add_and_norm_fp32(float* rows, const float* added, int64_t count, int64_t width, const float* weight,
                       const float* bias, float eps, int replace, float* out, int threads) {
    add_and_norm(rows, added, count, width, Norm{weight, bias, eps}, replace != 0, out, threads);
}

void add_and_norm_bf16(float* rows, const bf16* added, int64_t count, int64_t width, const float* weight,
                       const float* bias, float eps, int replace, bf16* out, int threads) {
    add_and_norm(rows, added, count, width, Norm{weight, bias, eps}, replace != 0, out, threads);
}

#if defined(__AVX512F__)
void linear_fp32(const float* x, int64_t rows, int64_t inputs, const float* panels, int64_t outputs, const float* bias,
                 int activation, float* y, int threads) {
    linear_layer(Linear<float>{panels, bias, outputs, inputs, activation}, x, rows, y, threads);
}

void encoder_fp32(const Layer<float>* layers, int64_t depth, float* rows, int64_t count, int64_t width, int64_t heads,
                 const int64_t* starts, int64_t texts, int firsts, int threads) {
    const BatchState<float> batch{rows, count, width, heads, starts, texts};
    encode_of_depth(layers, depth, batch, firsts != 0, threads);
}

#endif

#if defined(__AVX512BF16__)
void linear_bf16(const bf16* x, int64_t rows, int64_t inputs, const bf16* panels, int64_t outputs, const float* bias,
                 int activation, bf16* y, int threads) {
    linear_layer(Linear<bf16>{panels, bias, outputs, inputs, activation}, x, rows, y, threads);
}

void encoder_bf16(const Layer<bf16>* layers, int64_t depth, float* rows, int64_t count, int64_t width, int64_t heads,
                 const int64_t* starts, int64_t texts, int firsts, int threads) {
    const BatchState<bf16> batch{rows, count, width, heads, starts, texts};
    encode_of_depth(layers, depth, batch, firsts != 0, threads);
}
#endif

}  // extern "C"
