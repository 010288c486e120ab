/* Winograd's transforms F(4x4, 3x3) of channels-last floats for one instruction set, one vector of
 * channels at a time. Included by image_conv_f32_body.h. Matrices: Lavin and Gray 2016,
 * arXiv:1509.09308, with the points 0, 1, -1, 2, -2. */

/* B^T d: from six values in a line. */
INLINE void FORM(line_in)(const FORM(vector) * d, FORM(vector) * out)
{
    const FORM(vector) a = d[4] - 4.0F * d[2], b = d[3] - 4.0F * d[1];
    const FORM(vector) c = d[4] - d[2], e = 2.0F * (d[3] - d[1]);

    out[0] = 4.0F * d[0] - 5.0F * d[2] + d[4];
    out[1] = a + b;
    out[2] = a - b;
    out[3] = c + e;
    out[4] = c - e;
    out[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
}

/* A^T m: four values from six. */
INLINE void FORM(line_out)(const FORM(vector) * m, FORM(vector) * out)
{
    const FORM(vector) a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];

    out[0] = m[0] + a + c;
    out[1] = b + 2.0F * d;
    out[2] = a + 4.0F * c;
    out[3] = b + 8.0F * d + m[5];
}

/* B^T d B of a 6x6 patch. x: its first pixel; to: element 0 of this patch and channel, each `plane`
 * floats further. */
TARGET static void FORM(winograd_in)(const float *x, int64_t row, int64_t pixel, float *to,
                                     int64_t plane, int count)
{
    FORM(vector) t[6][6];

    for (int i = 0; i < 6; i++, x += row) {
        FORM(vector) d[6];

#pragma GCC unroll 6
        for (int j = 0; j < 6; j++)
            d[j] = FORM(load_some)(x + j * pixel, count);
        FORM(line_in)(d, t[i]);
    }
    for (int j = 0; j < 6; j++) {
        FORM(vector) d[6], out[6];

#pragma GCC unroll 6
        for (int i = 0; i < 6; i++)
            d[i] = t[i][j];
        FORM(line_in)(d, out);
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++)
            FORM(store_some)(to + (i * 6 + j) * plane, out[i], count);
    }
}

/* A^T m A, bias and what follows it; stores rows x cols pixels of the 4x4. from: element 0, each
 * `plane` floats further. t: y, bias and residual of this patch and vector of channels. */
TARGET static void FORM(winograd_out)(const struct image_tile *t, const float *from, int64_t plane,
                                      int rows, int cols, int64_t y_row, int64_t residual_row)
{
    FORM(vector) half[6][4];
    struct image_tile line = *t;

    for (int i = 0; i < 6; i++) {
        FORM(vector) m[6];

#pragma GCC unroll 6
        for (int j = 0; j < 6; j++)
            m[j] = FORM(load)(from + (i * 6 + j) * plane);
        FORM(line_out)(m, half[i]);
    }
    for (int j = 0; j < cols; j++) {
        FORM(vector) m[6], out[4];

#pragma GCC unroll 6
        for (int i = 0; i < 6; i++)
            m[i] = half[i][j];
        FORM(line_out)(m, out);
        line.y = t->y + j * t->y_step;
        line.y_step = y_row;
        line.residual = t->residual ? t->residual + j * t->residual_step : NULL;
        line.residual_step = residual_row;
        for (int i = 0; i < rows; i++) {
            const FORM(vector) x = out[i] + FORM(load)(t->bias);

            FORM(finish_pixel)(&line, &x, 1, i);
        }
    }
}
