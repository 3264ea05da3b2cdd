#!/bin/sh
# The paper's first two families, weights and their autoencoder, beside DeepSDF, on generated shapes: which of its claims
# hold here, which do not, and which have another cause. Writes one table, with a mark that is computed from the reports
# for each claim, and one picture.
#   sh examples/weight_space.sh [--size tiny|small] [FOLDER]
# small: 28 CPU minutes; what each part took is told at the end.
# tiny: four CPU minutes, to see that all of it runs; its marks mean nothing.
work=weight_space options=--size
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
# Shapes, of which some are judged by their meshes; steps of fits, of weight DiTs, of the decoder and the denoisers of its
# codes and of the autoencoder's; epochs of autoencoders, one of them stopped early; cells of meshes, and points they are
# judged by.
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
report() { # FILE COMMAND...: keeps what the command prints, once
    file=reports/$1 && shift
    [ -e "$file" ] || { "$@" >"$file.part" && mv "$file.part" "$file"; }
}
mkdir -p reports judged
spent start

# The shapes of the quick start.
[ -d raw ] || { sdfkit shapes --count "$count" --messy --seed 1 -o making/ && mv making raw; }
[ -e manifest.json ] || sdfkit manifest raw/ -o manifest.json
[ -d closed ] || { sdfkit watertight raw/*.glb --manifest manifest.json -o closing/ && mv closing closed; }
whole samples.zarr || sdfkit sample-sdf closed/*.ply -o samples.zarr
whole features.zarr || sdfkit render closed/*.ply --views 24 | sdfkit embed --model efficientnet-lite0 -o features.zarr
# Every second shape is judged by the mesh that four new pictures of it become.
row=0
for mesh in closed/*.ply; do
    [ $((row % 2)) -eq 1 ] || [ $row -ge $((2 * judged)) ] || ln -sf "$PWD/$mesh" judged/
    row=$((row + 1))
done
whole seen.zarr || sdfkit render judged/ --views 4 | sdfkit embed --model efficientnet-lite0 -o seen.zarr
spent data

# One small network a shape: from an anchor by our recipe, from it at the paper's rate, which moves them less, each from
# its own draw, and, for the noise they take, SIREN.
whole anchored.zarr || sdfkit fit-mlp samples.zarr --steps "$fit" -o anchored.zarr
whole thin.zarr || sdfkit fit-mlp samples.zarr --steps "$fit" --lr 1e-4 -o thin.zarr
whole independent.zarr || sdfkit fit-mlp samples.zarr --steps "$fit" --anchor none -o independent.zarr
whole few.zarr || sdfkit sample-sdf closed/obj_000*.ply --points 60000 -o few.zarr
whole relu.zarr || sdfkit fit-mlp few.zarr --steps "$noisy" -o relu.zarr
whole siren.zarr || sdfkit fit-mlp few.zarr --steps "$noisy_siren" --network siren -o siren.zarr
spent fits
for kind in anchored thin independent; do
    report $kind.stats.json sdfkit weight-stats $kind.zarr --json
done
report perturb.json sdfkit perturb relu.zarr siren.zarr --shapes 10 --resolution 32 --json
spent perturb

# The weight DiT. As it is; with its fault put back, positions that drown in the noise; of thin and of independent weights;
# and the paper's phases 6, 8 and 9.
dit() { # NAME CODES OPTION...
    name=$1 vectors=$2 && shift 2
    whole "$name.dit.zarr" || sdfkit train-dit features.zarr --codes "$vectors" "$@" -o "$name.dit.zarr"
}
dit weights anchored.zarr --steps "$denoise"
whole drowned.dit.zarr || python "$root/examples/drowned.py" train-dit features.zarr \
    --codes anchored.zarr --steps "$denoise" -o drowned.dit.zarr
dit thin thin.zarr --steps "$denoise"
dit independent independent.zarr --steps "$denoise"
dit phase6 anchored.zarr --steps "$denoise" --views 1
dit phase8 anchored.zarr --steps "$denoise" --raw
dit phase9 anchored.zarr --steps "$denoise" --raw --cfg-dropout 0 --pose-dropout 0
spent weight_dit

# The autoencoder: stopped early, where it leaves about as much of the variance as the paper's, and run to its end, by
# weights and by fields.
whole ae_brief.zarr || sdfkit train-ae anchored.zarr --samples samples.zarr --epochs "$brief" -o ae_brief.zarr
whole ae_weights.zarr || sdfkit train-ae anchored.zarr --samples samples.zarr --epochs "$epochs" -o ae_weights.zarr
whole ae_field.zarr || sdfkit train-ae anchored.zarr --samples samples.zarr --epochs "$epochs" --loss field -o ae_field.zarr
dit ae ae_weights.zarr --preset small --steps "$codes"
spent autoencoder

whole deepsdf.zarr || sdfkit train-deepsdf samples.zarr --preset small --steps "$decoder" -o deepsdf.zarr
dit deepsdf deepsdf.zarr --preset small --steps "$denoiser"
report deepsdf.stats.json sdfkit weight-stats deepsdf.zarr --json
spent deepsdf

# What four new pictures become, ranked beside the training vectors, and as meshes.
judge() { # NAME: of the meshes of a folder, those that are judged; one without a surface scores 0
    for mesh in "$1.meshes"/*.ply; do
        [ -e "judged/${mesh#"$1.meshes/"}" ] || rm -f "$mesh"
    done
    report "$1.compare.json" sdfkit compare "$1.meshes/" judged/ --points "$points" --json
}
for name in weights drowned thin independent phase6 phase8 phase9 ae deepsdf; do
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
    whole $name.predicted.zarr || sdfkit predict $name.dit.zarr seen.zarr -o $name.predicted.zarr
    report $name.rank.json sdfkit rank $name.predicted.zarr --json
    # Where a prediction has no surface, mesh says so and ends with status 4.
    # shellcheck disable=SC2086  # an option and its value, or nothing
    [ -e reports/$name.compare.json ] || sdfkit mesh $name.predicted.zarr $decoder_of --resolution "$cells" \
        --overwrite -o $name.meshes/ || [ $? -eq 4 ]
    judge $name
done
spent predictions
for name in weights drowned; do
    report $name.pieces.json python "$root/examples/drowned.py" pieces $name.predicted.zarr --known anchored.zarr
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
python "$root/examples/contact_sheet.py" judged/ anchored.meshes/ drowned.meshes/ weights.meshes/ ae_brief.meshes/ \
    ae_field.meshes/ deepsdf.meshes/ --columns 1 --size 140 -o picture.png

echo
echo "Table:   $PWD/table.md"
echo "Picture: $PWD/picture.png"
