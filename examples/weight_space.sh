#!/bin/sh
# Reproduce the claims of the paper on weight space, on generated shapes. The paper compares three families of models:
# a DiT of weights (those of one small network per shape), a DiT of an autoencoder's codes of these weights, and a DiT
# of DeepSDF's codes. Writes a table, which marks each claim "reproduced", "not reproduced" or "explained otherwise"
# from the reports, and an image of meshes.
#   sh examples/weight_space.sh [--size tiny|small] [FOLDER]
# small: takes 28 CPU minutes; the time of each part is printed at the end.
# tiny: takes four CPU minutes and tests that the script runs; its networks are not trained long enough for its marks.
work=weight_space options=--size
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
# count: number of shapes; judged: shapes whose predicted meshes are evaluated; fit, noisy, noisy_siren: steps of
# fitting the small networks, for the DiTs and for the test with noise; denoise: steps of weight DiTs; decoder,
# denoiser: steps of DeepSDF and of the DiT of its codes; codes: steps of the DiT of the autoencoder's codes; brief,
# epochs: epochs of the autoencoder stopped early and of the others; cells: mesh resolution; points: points on each
# mesh that is evaluated.
case $size in
tiny)
    count=6 judged=2 fit=60 noisy=60 noisy_siren=40 denoise=6 decoder=40 denoiser=40 codes=40 brief=3 epochs=6
    cells=32 points=2000
    ;;
small)
    count=24 judged=8 fit=2000 noisy=1000 noisy_siren=600 denoise=300 decoder=3500 denoiser=3000 codes=1000
    brief=20 epochs=100 cells=64 points=20000
    ;;
esac

spent() { times >times.txt && echo "$1 $(tail -n 1 times.txt)" >>costs.txt; }
report() { # FILE COMMAND...: writes the output of the command to reports/FILE, unless the file exists
    file=reports/$1 && shift
    [ -e "$file" ] || { "$@" >"$file.part" && mv "$file.part" "$file"; }
}
mkdir -p reports judged
spent start

# The shapes of the quick start.
sdfkit shapes --count "$count" --messy --seed 1 -o raw/
sdfkit manifest raw/ -o manifest.json
sdfkit watertight raw/*.glb --manifest manifest.json -o closed/
sdfkit sample-sdf closed/*.ply -o samples.zarr
sdfkit render closed/*.ply --views 24 -o views.zarr
sdfkit embed views.zarr --model efficientnet-lite0 -o features.zarr
# Every second shape, $judged in all, is evaluated: its mesh is predicted from four new images.
row=0
for mesh in closed/*.ply; do
    [ $((row % 2)) -eq 1 ] || [ $row -ge $((2 * judged)) ] || ln -sf "$PWD/$mesh" judged/
    row=$((row + 1))
done
sdfkit render judged/ --views 4 -o seen_views.zarr
sdfkit embed seen_views.zarr --model efficientnet-lite0 -o seen.zarr
spent data

# Fit one small network per shape. anchored: all start from the same weights, the anchor, at our learning rate. thin:
# from the same anchor, at the paper's learning rate, which moves the weights less. independent: each from its own
# random weights. relu and siren: two kinds of network, for the test of how much noise on their weights they tolerate.
sdfkit fit-mlp samples.zarr --steps "$fit" -o anchored.zarr
sdfkit fit-mlp samples.zarr --steps "$fit" --lr 1e-4 -o thin.zarr
sdfkit fit-mlp samples.zarr --steps "$fit" --anchor none -o independent.zarr
sdfkit sample-sdf closed/obj_000*.ply --points 60000 -o few.zarr
sdfkit fit-mlp few.zarr --steps "$noisy" -o relu.zarr
sdfkit fit-mlp few.zarr --steps "$noisy_siren" --network siren -o siren.zarr
spent fits
for kind in anchored thin independent; do
    report $kind.stats.json sdfkit weight-stats $kind.zarr --json
done
report perturb.json sdfkit perturb relu.zarr siren.zarr --shapes 10 --resolution 32 --json
spent perturb

# Train weight DiTs. weights: sdfkit's. hidden: position embeddings too small to show behind noise, the fault that
# examples/hidden_positions.py restores. thin, independent: on the other fits. phase6, phase8, phase9: the ablations of
# these numbers in the paper.
dit() { # NAME CODES OPTION...
    name=$1 vectors=$2 && shift 2
    sdfkit train-dit features.zarr --codes "$vectors" "$@" -o "$name.dit.zarr"
}
dit weights anchored.zarr --steps "$denoise"
python "$root/examples/hidden_positions.py" train-dit features.zarr \
    --codes anchored.zarr --steps "$denoise" -o hidden.dit.zarr
dit thin thin.zarr --steps "$denoise"
dit independent independent.zarr --steps "$denoise"
dit phase6 anchored.zarr --steps "$denoise" --views 1
dit phase8 anchored.zarr --steps "$denoise" --raw
dit phase9 anchored.zarr --steps "$denoise" --raw --cfg-dropout 0 --pose-dropout 0
spent weight_dit

# Train autoencoders of weights. ae_brief: stopped early, where about as much of the variance is unexplained as with
# the paper's autoencoder. ae_weights and ae_field: trained to the end, with a loss on weights and with a loss on the
# fields.
sdfkit train-ae anchored.zarr --samples samples.zarr --epochs "$brief" -o ae_brief.zarr
sdfkit train-ae anchored.zarr --samples samples.zarr --epochs "$epochs" -o ae_weights.zarr
sdfkit train-ae anchored.zarr --samples samples.zarr --epochs "$epochs" --loss field -o ae_field.zarr
dit ae ae_weights.zarr --preset small --steps "$codes"
spent autoencoder

sdfkit train-deepsdf samples.zarr --preset small --steps "$decoder" -o deepsdf.zarr
dit deepsdf deepsdf.zarr --preset small --steps "$denoiser"
report deepsdf.stats.json sdfkit weight-stats deepsdf.zarr --json
spent deepsdf

# Predict from four new images of each shape. Rank the training vectors by their similarity to each prediction, and
# evaluate the meshes.
judge() { # NAME: evaluates the meshes in NAME.meshes of the shapes in judged/; a missing mesh scores 0
    for mesh in "$1.meshes"/*.ply; do
        [ -e "judged/${mesh#"$1.meshes/"}" ] || rm -f "$mesh"
    done
    report "$1.compare.json" sdfkit compare "$1.meshes/" judged/ --points "$points" --json
}
for name in weights hidden thin independent phase6 phase8 phase9 ae deepsdf; do
    decoder_of="--decoder $name.zarr"
    case $name in
    ae) decoder_of="--decoder ae_weights.zarr" ;;
    deepsdf) ;;
    *)
        decoder_of=
        report $name.losses.json sdfkit timestep-loss $name.dit.zarr features.zarr --draws 1 --timesteps 0 \
            --timesteps 50 --timesteps 100 --timesteps 200 --timesteps 300 --timesteps 450 --timesteps 490 \
            --timesteps 499 --json
        ;;
    esac
    sdfkit predict $name.dit.zarr seen.zarr -o $name.predicted.zarr
    report $name.rank.json sdfkit rank $name.predicted.zarr --json
    # mesh ends with status 4 if a prediction has no surface.
    # shellcheck disable=SC2086  # an option and its value, or nothing
    [ -e reports/$name.compare.json ] || sdfkit mesh $name.predicted.zarr $decoder_of --resolution "$cells" \
        --overwrite -o $name.meshes/ || [ $? -eq 4 ]
    judge $name
done
spent predictions
for name in weights hidden; do
    report $name.pieces.json python "$root/examples/hidden_positions.py" pieces $name.predicted.zarr --known anchored.zarr
done
for name in anchored thin independent ae_brief ae_weights ae_field deepsdf; do
    case $name in
    deepsdf) folder=decoded ;;
    thin | independent) folder=${name}_fits ;;
    *) folder=$name ;;
    esac
    [ -e reports/$folder.compare.json ] || sdfkit mesh $name.zarr --resolution "$cells" --overwrite -o $folder.meshes/ ||
        [ $? -eq 4 ]
    judge $folder
done
spent meshes

python "$root/examples/weight_space.py" reports/ --autoencoders ae_*.zarr --costs costs.txt | tee table.md
python "$root/examples/contact_sheet.py" judged/ anchored.meshes/ hidden.meshes/ weights.meshes/ ae_brief.meshes/ \
    ae_field.meshes/ deepsdf.meshes/ --columns 1 --size 140 -o picture.png

echo
echo "Table:   $PWD/table.md"
echo "Image:   $PWD/picture.png"
