/* Sparse weights of a TensorFlow Lite file, made dense. They are stored in the way of TACO
 * (Kjolstad et al. 2017, "The Tensor Algebra Compiler"): the axes are walked in an order that the
 * file names, each either in full or, compressed, over the indices that it lists; blocks are
 * further axes, inside. */
#include "libpith/formats/tflite_read.h"

#include <errno.h>
#include <string.h>

#define MOST_LEVELS (2 * PITH_MAX_RANK)

struct level { /* an axis that is walked */
    bool compressed;
    int64_t size; /* where not compressed */
    struct flat_vector ends,
        indices; /* where compressed: segment s has the indices from ends[s] to ends[s+1] */
    int ends_type, indices_type;
};

struct walk {
    const struct pith_tensor *stored;
    struct pith_tensor *dense;
    struct level level[MOST_LEVELS];
    uint32_t levels, rank;
    uint32_t axis[MOST_LEVELS];   /* that the level walks; past `rank`, within its block */
    int64_t block[PITH_MAX_RANK]; /* of each axis; 1 where it has none */
    int64_t index[MOST_LEVELS];
    int64_t taken, count; /* stored elements: used, there */
    int64_t steps_left;   /* a walk takes about as many steps as there are dense elements */
};

static unsigned index_bytes(int type)
{
    return type == INDEX_VECTOR_INT32 ? 4 : type == INDEX_VECTOR_UINT16 ? 2 : 1;
}

static int64_t index_at(struct flat_vector vector, int type, uint32_t i)
{
    if (type == INDEX_VECTOR_INT32)
        return flat_item_i32(vector, i);
    return type == INDEX_VECTOR_UINT16 ? flat_item_u16(vector, i) : flat_item_u8(vector, i);
}

static bool read_level(struct flat_table from, struct level *out)
{
    out->compressed = flat_i8(from, DIM_FORMAT, 0) == 1;
    out->size = flat_i32(from, DIM_DENSE_SIZE, 0);
    if (!out->compressed)
        return out->size > 0;
    out->ends_type = flat_u8(from, DIM_SEGMENTS_TYPE, 0);
    out->indices_type = flat_u8(from, DIM_INDICES_TYPE, 0);
    if (out->ends_type < INDEX_VECTOR_INT32 || out->ends_type > INDEX_VECTOR_UINT8 ||
        out->indices_type < INDEX_VECTOR_INT32 || out->indices_type > INDEX_VECTOR_UINT8)
        return false;
    out->ends = flat_items(flat_child(from, DIM_SEGMENTS), INDEX_VECTOR_VALUES,
                           index_bytes(out->ends_type));
    out->indices = flat_items(flat_child(from, DIM_INDICES), INDEX_VECTOR_VALUES,
                              index_bytes(out->indices_type));
    return true;
}

/* The order, and which axis the levels of blocks lie in. */
static bool read_order(struct walk *walk, struct flat_vector order, struct flat_vector map)
{
    bool seen[MOST_LEVELS] = {false};

    for (uint32_t i = 0; i < walk->levels; i++) {
        int32_t at = flat_item_i32(order, i);
        int32_t axis = at;

        if (at < 0 || at >= (int32_t) walk->levels || seen[at] ||
            (i < walk->rank) != (at < (int32_t) walk->rank))
            return false;
        seen[at] = true;
        if (i >= walk->rank) {
            axis = flat_item_i32(map, (uint32_t) at - walk->rank);
            if (axis < 0 || axis >= (int32_t) walk->rank || walk->block[axis] != 1 ||
                walk->level[i].compressed)
                return false;
            walk->block[axis] = walk->level[i].size;
        }
        walk->axis[i] = (uint32_t) axis;
    }
    return true;
}

static bool read_walk(struct walk *walk, struct flat_table sparsity)
{
    struct flat_vector order = flat_items(sparsity, SPARSITY_TRAVERSAL_ORDER, 4);
    struct flat_vector map = flat_items(sparsity, SPARSITY_BLOCK_MAP, 4);
    struct flat_vector metadata = flat_items(sparsity, SPARSITY_DIM_METADATA, 4);

    walk->rank = walk->stored->shape.rank;
    walk->levels = order.count;
    if (walk->levels > MOST_LEVELS || walk->levels != walk->rank + map.count ||
        metadata.count != walk->levels)
        return false;
    for (uint32_t i = 0; i < PITH_MAX_RANK; i++)
        walk->block[i] = 1;
    for (uint32_t i = 0; i < walk->levels; i++)
        if (!read_level(flat_item_table(metadata, i), &walk->level[i]))
            return false;
    return read_order(walk, order, map) && !metadata.in->broken;
}

/* The element at the indices that the levels have now. */
static bool put(struct walk *walk)
{
    int64_t at[PITH_MAX_RANK] = {0};
    int64_t flat = 0;
    const unsigned bits = pith_dtype_bits(walk->stored->dtype);

    for (uint32_t i = 0; i < walk->levels; i++)
        at[walk->axis[i]] = i < walk->rank
                                ? walk->index[i]
                                : at[walk->axis[i]] * walk->block[walk->axis[i]] + walk->index[i];
    for (uint32_t i = 0; i < walk->rank; i++) {
        if (at[i] < 0 || at[i] >= walk->dense->shape.dim[i])
            return false;
        flat = flat * walk->dense->shape.dim[i] + at[i];
    }
    if (walk->taken >= walk->count)
        return false;
    if (bits < 8)
        pith_tensor_set(walk->dense, flat, pith_tensor_get(walk->stored, walk->taken));
    else
        memcpy((uint8_t *) walk->dense->data + flat * (bits / 8),
               (const uint8_t *) walk->stored->data + walk->taken * (bits / 8), bits / 8);
    walk->taken++;
    return true;
}

/* segment: which of the level's segments, counted over all the levels outside. */
static bool walk_level(struct walk *walk, uint32_t depth, int64_t segment)
{
    const struct level *level = &walk->level[depth];
    int64_t from = 0, to = level->size;

    if (depth == walk->levels)
        return put(walk);
    if (level->compressed) {
        if (segment + 1 >= (int64_t) level->ends.count)
            return false;
        from = index_at(level->ends, level->ends_type, (uint32_t) segment);
        to = index_at(level->ends, level->ends_type, (uint32_t) segment + 1);
        if (from < 0 || to < from || to > (int64_t) level->indices.count)
            return false;
    }
    for (int64_t i = from; i < to; i++) {
        if (walk->steps_left-- <= 0)
            return false;
        walk->index[depth] =
            level->compressed ? index_at(level->indices, level->indices_type, (uint32_t) i) : i;
        if (!walk_level(walk, depth + 1, level->compressed ? i : segment * level->size + i))
            return false;
    }
    return true;
}

int tflite_densify(struct tflite_reader *reader, struct flat_table sparsity,
                   const struct pith_tensor *stored, struct pith_tensor *out,
                   struct pith_error *err)
{
    struct pith_tensor dense = {0};
    struct walk walk = {.stored = stored, .dense = &dense};
    int64_t bytes = pith_tensor_bytes(stored->dtype, &stored->shape);
    const unsigned bits = pith_dtype_bits(stored->dtype);
    int rc;

    if (bytes < 0 || bits == 0)
        return -EBADMSG;
    walk.count = (int64_t) (stored->bytes * 8 / bits);
    walk.steps_left = (pith_shape_elements(&stored->shape) + 1) * (MOST_LEVELS + 1);
    if (!read_walk(&walk, sparsity))
        return -EBADMSG;
    rc = tflite_count_copy(reader, (uint64_t) bytes, err);
    if (rc == 0)
        rc = pith_tensor_alloc(&dense, stored->dtype, &stored->shape, err);
    if (rc < 0)
        return rc;
    if (!walk_level(&walk, 0, 0) || walk.taken != walk.count) {
        pith_tensor_free(&dense);
        return -EBADMSG;
    }
    *out = dense;
    return 0;
}
