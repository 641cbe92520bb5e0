/* The operators behind the one prototype of hmimo_fast.h. */

#define ENTRY(name)                                                                     \
    static int name##_entry(const hf_shape *s, const hf_operand *in, const double *option, \
                            void *const *out)
#define LINK_ENTRY(name, ...)                                                      \
    ENTRY(name) {                                                                  \
        (void)option;                                                              \
        return s->single ? name##_f(*s, __VA_ARGS__) : name##_d(*s, __VA_ARGS__); \
    }

LINK_ENTRY(effective_channel, in[0], in[1], in[2], out[0])
LINK_ENTRY(sinr, in[0], in[1], in[2], in[3], in[4], out[0])
LINK_ENTRY(sum_rate, in[0], in[1], in[2], in[3], in[4], in[5], out[0])
LINK_ENTRY(sum_rate_gradient, in[0], in[1], in[2], in[3], in[4], in[5], out[0], out[1], out[2])

ENTRY(zero_forcing) {
    (void)option;
    return zero_forcing(*s, in[0], in[1], out[0], out[1]);
}

ENTRY(wmmse) { return wmmse(*s, in[0], in[1], in[2], in[3], (int64_t)option[0], out[0]); }

ENTRY(water_filling) {
    (void)option;
    return water_filling(*s, in[0], in[1], in[2], in[3], in[4], out[0], out[1]);
}

ENTRY(project) { return project(*s, in[0], in[1], in[2], in[3], option[0] != 0, out[0]); }

ENTRY(wmmse_gradient) {
    const hf_problem given = {in[0], in[1], in[2], in[4], in[5], in[6], option[0] != 0};
    return wmmse_gradient(*s, given, in[3], (int64_t)option[1], out[0], out[1], out[2]);
}

static hf_operand shifted(hf_operand operand, ptrdiff_t b) {
    return (hf_operand){operand.data ? (const char *)operand.data + b * operand.step : NULL, 0};
}

/* One loop of the old prototypes on one item. */
typedef int (*old_loop)(hf_shape, hf_problem, hf_operand min_rate, const double *option, hf_solved);

/* The loop item by item, with a history of its own whose rates go to the places of the iterates:
 * `first` rates of one stage, then those of another. */
static int run_old_loop(const hf_shape *s, const hf_operand *in, const double *option,
                        void *const *out, old_loop loop, int64_t first, int64_t second) {
    const ptrdiff_t real = s->single ? 4 : 8, rates = first + second;
    hf_shape one = *s;
    one.batch = 1;
    for (ptrdiff_t b = 0; b < s->batch; b++) {
        if (s->stop && *s->stop)
            return HF_STOPPED;
        double *history = malloc((size_t)rates * 8);
        if (!history)
            return HF_NO_MEMORY;
        const hf_problem given = {shifted(in[0], b), shifted(in[1], b), shifted(in[2], b),
                                  shifted(in[3], b), shifted(in[4], b), shifted(in[5], b),
                                  option[0] != 0};
        const hf_solved to = {
            (char *)out[0] + b * s->elements * real,
            (char *)out[1] + 2 * b * s->channels * s->feeds * s->users * real,
            (double *)out[2] + b,
            (int64_t *)out[3] + b,
            (uint8_t *)out[4] + b,
            history,
        };
        const int status = loop(one, given, shifted(in[6], b), option, to);
        double *record = (double *)out[5] + b * s->recorded;
        for (ptrdiff_t i = 0; !status && i < s->recorded; i++)
            record[i] = i < first ? history[i] : NAN;
        int64_t steps = 0;
        while (!status && steps < second && history[first + steps] == history[first + steps])
            steps++;
        for (int64_t i = 0; i < steps; i++) {
            const int64_t at = to.iterations[0] - steps + 1 + i;
            if (at < s->recorded)
                record[at] = history[first + i];
        }
        free(history);
        if (status)
            return status;
    }
    return HF_OK;
}

static int old_alternating(hf_shape s, hf_problem given, hf_operand min_rate, const double *o,
                           hf_solved to) {
    (void)min_rate;
    return alternating(s, given, o[1] != 0, o[2], (int64_t)o[3], o[4], (int64_t)o[5], to);
}

static int old_descent(hf_shape s, hf_problem given, hf_operand min_rate, const double *o,
                       hf_solved to) {
    (void)min_rate;
    return coordinate_descent(s, given, o[1] != 0, o[2], (int64_t)o[3], to);
}

static int old_projection(hf_shape s, hf_problem given, hf_operand min_rate, const double *o,
                          hf_solved to) {
    return variable_projection(s, given, min_rate, (int64_t)o[1], (int64_t)o[2], (int64_t)o[3],
                               (int64_t)o[5], o[6], to);
}

ENTRY(alternating) {
    const hf_operand inputs[7] = {in[0], in[1], in[2], in[3], in[4], in[5]};
    return run_old_loop(s, inputs, option, out, old_alternating, (int64_t)option[5] + 1, 0);
}

ENTRY(coordinate_descent) {
    const hf_operand inputs[7] = {in[0], in[1], in[2], in[3], in[4], in[5]};
    return run_old_loop(s, inputs, option, out, old_descent, (int64_t)option[3] + 1, 0);
}

ENTRY(variable_projection) {
    return run_old_loop(s, in, option, out, old_projection, (int64_t)option[1] + 1,
                        (int64_t)option[2] + 1);
}

ENTRY(best_beams) {
    const double stay[] = {option[0], 0, option[1], 1, 1, option[2], 1e300};
    const hf_problem given = {in[0], in[1], in[2], in[3], in[4], in[5], option[0] != 0};
    if (s->elements > MOST)
        return HF_TOO_LARGE;
    const size_t batch = (size_t)s->batch, real = s->single ? 4 : 8;
    char *spare = malloc(batch * ((size_t)s->elements * real + 40) + 64);
    if (!spare)
        return HF_NO_MEMORY;
    double *history = (double *)spare; /* 3 rates an item at most */
    int64_t *made = (int64_t *)(history + 3 * batch);
    uint8_t *converged = (uint8_t *)(made + batch);
    const hf_solved to = {spare + 40 * batch, out[0], out[1], made, converged, history};
    const int status = old_projection(*s, given, in[6], stay, to);
    free(spare);
    return status;
}
