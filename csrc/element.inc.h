/* What an element can do to its reference wave (docs/mathematics.md, "Elements").
 *
 * An element has a weight q and one real state: an amplitude is its own weight, the others turn on
 * a circle q = c + rho e^{j state}.  Given weights have no state.  A new element on a circle is its
 * line here and in kernels/definitions/element.py.
 */

enum { AMPLITUDE, LORENTZIAN, PHASE_SHIFT, GIVEN };

static const struct {
    real re, im, radius; /* c and rho */
} CIRCLES[] = {
    [AMPLITUDE] = {0, 0, 0},
    [LORENTZIAN] = {0, (real)0.5, (real)0.5},
    [PHASE_SHIFT] = {0, 0, 1},
    [GIVEN] = {0, 0, 0},
};

/* Cosine and sine to about one ulp for |angle| up to 1e5: the angle less its multiple of pi / 2,
 * in three parts, and the truncated series refitted on |r| <= pi / 4, as in every libm. */
INLINE cvec turn_by(vec angle) {
#ifdef HF_FLOATS
    const vec magic = VEC(12582912.0f);
    const real parts[] = {1.5703125f, 4.837512969970703e-4f, 7.5497899548918821e-8f};
#else
    const vec magic = VEC(6755399441055744.0);
    const real parts[] = {1.57079632673412561417e+00, 6.07710050630396597660e-11,
                          2.02226624879595063154e-21};
#endif
    const vec shifted = angle * (real)6.36619772367581382433e-01 + magic;
    const vec turns = shifted - magic;
    const lanes quarter = (lanes)((bit_vec)shifted & 3);
    const vec r = ((angle - turns * parts[0]) - turns * parts[1]) - turns * parts[2];
    const vec z = r * r;
    vec s = z * (real)1.58969099521155010221e-10 + (real)-2.50507602534068634195e-08;
    s = z * s + (real)2.75573137070700676789e-06;
    s = z * s + (real)-1.98412698298579493134e-04;
    s = z * s + (real)8.33333333332248946124e-03;
    s = z * s + (real)-1.66666666666666324348e-01;
    s = r + r * (z * s);
    vec c = z * (real)-1.13596475577881948265e-11 + (real)2.08757232129817482790e-09;
    c = z * c + (real)-2.75573143513906633035e-07;
    c = z * c + (real)2.48015872894767294178e-05;
    c = z * c + (real)-1.38888888888741095749e-03;
    c = z * c + (real)4.16666666666666019037e-02;
    c = (real)1 - ((real)0.5 * z - z * z * c);
    const lanes odd = (quarter & 1) != 0;
    const vec cosine = choose(odd, s, c), sine = choose(odd, c, s);
    const lanes left = ((quarter + 1) & 2) != 0, below = (quarter & 2) != 0;
    return (cvec){choose(left, -cosine, cosine), choose(below, -sine, sine)};
}

/* q on a circle at a state, and its derivative there. */
INLINE void weigh_state(int element, vec state, cvec *q, cvec *slope) {
    const vec radius = VEC(CIRCLES[element].radius);
    const cvec turn = turn_by(state);
    *q = (cvec){CIRCLES[element].re + radius * turn.re, CIRCLES[element].im + radius * turn.im};
    *slope = (cvec){-radius * turn.im, radius * turn.re};
}

/* The state of the weight nearest to q on a circle. */
INLINE vec state_of(int element, cvec q) {
    vec state;
    for (int i = 0; i < W; i++)
        state[i] = (real)atan2((double)(q.im[i] - CIRCLES[element].im),
                               (double)(q.re[i] - CIRCLES[element].re));
    return state;
}

/* The weight on a circle at which size |q|^2 - 2 Re(conj(pull) q) is least; `stay` where it is the
 * same everywhere. */
INLINE cvec least_weight(int element, vec size, cvec pull, cvec stay) {
    const vec re = pull.re - size * CIRCLES[element].re;
    const vec im = pull.im - size * CIRCLES[element].im;
    const vec length = root_vec(re * re + im * im);
    const lanes told = (length > (real)(1 / HUGE_REAL)) & (length < (real)HUGE_REAL);
    const vec by = CIRCLES[element].radius / length;
    return (cvec){choose(told, CIRCLES[element].re + by * re, stay.re),
                  choose(told, CIRCLES[element].im + by * im, stay.im)};
}

/* The same of one element. */
INLINE cpx least_number(int element, num size, cpx pull, cpx stay) {
    const cvec from = {spread(pull.re), spread(pull.im)}, kept = {spread(stay.re), spread(stay.im)};
    const cvec found = least_weight(element, spread(size), from, kept);
#ifdef HF_LONE
    return (cpx){found.re[0], found.im[0]};
#else
    return (cpx){found.re, found.im};
#endif
}
