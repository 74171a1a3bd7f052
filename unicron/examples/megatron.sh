#!/usr/bin/env bash
# One rank of Megatron-LM. The agent sets RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun
# does, and UNICRON_CHECKPOINTS. Lines with CHANGE are yours.
set -euo pipefail

MEGATRON=/shared/Megatron-LM                # CHANGE: a checkout
DATA=/shared/data/corpus_text_document      # CHANGE: a preprocessed corpus
TENSOR=8                                    # CHANGE: GPUs of a node that share a layer
PIPELINE=2                                  # CHANGE: groups of layers
GLOBAL_BATCH=512                            # stays the same in every world; sequences of an iteration
MICRO_BATCH=2

# The size of the world is the plan's. What isn't a whole number of replicas, or doesn't divide the batch, is a
# mistake in `workers` or `min_workers`.
REPLICAS=$((WORLD_SIZE / (TENSOR * PIPELINE)))
if ((REPLICAS * TENSOR * PIPELINE != WORLD_SIZE || GLOBAL_BATCH % (REPLICAS * MICRO_BATCH) != 0)); then
    echo "$WORLD_SIZE GPUs are no whole replicas of $TENSOR x $PIPELINE for a batch of $GLOBAL_BATCH" >&2
    exit 2
fi

# To have iterations and exceptions told in band (level 1), add to the top of pretrain_gpt.py:
#     import unicron; unicron.attach()
exec python3 "$MEGATRON/pretrain_gpt.py" \
    --tensor-model-parallel-size "$TENSOR" \
    --pipeline-model-parallel-size "$PIPELINE" \
    --num-layers 32 --hidden-size 4096 --num-attention-heads 32 \
    --seq-length 2048 --max-position-embeddings 2048 \
    --micro-batch-size "$MICRO_BATCH" --global-batch-size "$GLOBAL_BATCH" \
    --train-iters 100000 --lr 3e-4 --lr-decay-style cosine --min-lr 3e-5 --lr-warmup-iters 500 \
    --bf16 --use-distributed-optimizer --use-dist-ckpt --auto-detect-ckpt-format \
    --data-path "$DATA" --split 99,1,0 \
    --tokenizer-type GPT2BPETokenizer --vocab-file /shared/data/vocab.json --merge-file /shared/data/merges.txt \
    --save "$UNICRON_CHECKPOINTS" --load "$UNICRON_CHECKPOINTS" --save-interval 250 \
    --exit-signal-handler \
    --log-interval 10
